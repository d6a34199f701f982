"""Errors of the certificate authority.

Each class carries ``reason``, a stable kebab-case word for logs, API answers and tests; the message
is a sentence for people and never holds key material.

    CaError
    ├── SubjectKeyError            key-invalid             a submitted public key
    │   ├── KeyMalformedError      key-malformed           not one readable key
    │   ├── KeyTooLargeError       key-too-large           over the size limit, not even parsed
    │   ├── KeyTypeUnsupportedError key-type-unsupported   a kind of key we do not certify
    │   ├── KeyIsCertificateError  key-is-certificate      a certificate where a key belongs
    │   └── KeyWeakError           key-weak                too short, or of a known broken kind
    ├── CsrError                   csr-invalid             a certificate signing request
    │   ├── CsrMalformedError      csr-malformed
    │   ├── CsrTooLargeError       csr-too-large
    │   ├── CsrSignatureError      csr-signature-invalid   no proof that the sender has the key
    │   └── CsrNamesError          csr-names-other         asks to be somebody or something else
    ├── SpecError                  spec-invalid            what we were asked to sign
    │   ├── PrincipalError         principal-invalid
    │   ├── KeyIdError             key-id-invalid
    │   ├── SubjectNameError       name-invalid            an e-mail, DNS name or socket id
    │   ├── ValidityError          validity-invalid
    │   ├── SerialError            serial-invalid
    │   └── OptionError            option-invalid          an SSH extension or critical option
    ├── IssuanceError              issuance-failed         signing itself
    │   ├── SelfCheckError         self-check-failed       the result is not what was asked
    │   └── SignerUnavailableError signer-unavailable      a token or agent is out of reach
    │       └── SignerBusyError    signer-busy             too many wait for it already
    └── KeyStoreError              key-store-invalid       our own private keys
        ├── SealBrokenError        seal-broken             wrong master key, or changed bytes
        ├── KeyFileError           key-file-invalid        missing, unreadable or open to others
        └── KeyMissingError        key-missing             no longer in its token or agent
"""


class CaError(ValueError):
    """Base of every error this package raises on purpose."""

    reason = "ca-error"


class SubjectKeyError(CaError):
    """A public key somebody wants certified and will not get certified."""

    reason = "key-invalid"


class KeyMalformedError(SubjectKeyError):
    """Text that is not exactly one well-formed public key."""

    reason = "key-malformed"


class KeyTooLargeError(SubjectKeyError):
    """More bytes than any key needs."""

    reason = "key-too-large"


class KeyTypeUnsupportedError(SubjectKeyError):
    """A key of a type that is not certified here."""

    reason = "key-type-unsupported"


class KeyIsCertificateError(SubjectKeyError):
    """A certificate sent in place of a key."""

    reason = "key-is-certificate"


class KeyWeakError(SubjectKeyError):
    """A key that somebody else could use."""

    reason = "key-weak"


class CsrError(CaError):
    """A certificate signing request that is refused."""

    reason = "csr-invalid"


class CsrMalformedError(CsrError):
    """Text that is not exactly one PEM certificate signing request."""

    reason = "csr-malformed"


class CsrTooLargeError(CsrError):
    """More bytes than any request needs."""

    reason = "csr-too-large"


class CsrSignatureError(CsrError):
    """The request is not signed, in a way worth trusting, by the key it names."""

    reason = "csr-signature-invalid"


class CsrNamesError(CsrError):
    """The request asks for names that its sender does not get."""

    reason = "csr-names-other"


class SpecError(CaError):
    """A specification of a certificate that must not exist."""

    reason = "spec-invalid"


class PrincipalError(SpecError):
    """No principal, too many, or one with a separator, wildcard or control character."""

    reason = "principal-invalid"


class KeyIdError(SpecError):
    """An SSH key id that would not survive a log line."""

    reason = "key-id-invalid"


class SubjectNameError(SpecError):
    """An e-mail address, DNS name or socket id that must not stand in a certificate."""

    reason = "name-invalid"


class ValidityError(SpecError):
    """No end, no zone, an end before the start, too long a life, or later than the CA's."""

    reason = "validity-invalid"


class SerialError(SpecError):
    """A serial number that is zero, negative, predictable or too long."""

    reason = "serial-invalid"


class OptionError(SpecError):
    """An SSH extension or critical option we do not sign."""

    reason = "option-invalid"


class IssuanceError(CaError):
    """The signer did not deliver; nothing was released."""

    reason = "issuance-failed"


class SelfCheckError(IssuanceError):
    """The finished certificate differs from its specification or breaks a rule of the linter."""

    reason = "self-check-failed"


class SignerUnavailableError(IssuanceError):
    """The place a key lives in does not answer, or refuses; it may do better later."""

    reason = "signer-unavailable"


class SignerBusyError(SignerUnavailableError):
    """As many wait for the place a key lives in as may wait; nobody was asked."""

    reason = "signer-busy"


class KeyStoreError(CaError):
    """A private key of ours cannot be used."""

    reason = "key-store-invalid"


class SealBrokenError(KeyStoreError):
    """Sealed bytes do not open: another master key, purpose or object, or changed bytes."""

    reason = "seal-broken"


class KeyFileError(KeyStoreError):
    """A key file is missing, not a regular file, or readable by others."""

    reason = "key-file-invalid"


class KeyMissingError(KeyStoreError):
    """The token or agent that had a key does not have it any more."""

    reason = "key-missing"

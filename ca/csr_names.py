"""What a certificate request asks to be called (RFC 2986, RFC 5280 §4.2.1.6).

No name of a request ever comes into a certificate. They are read so that somebody who asks for
other names than they get is told, instead of finding out from a certificate that does not fit.
"""

from collections.abc import Collection, Iterator

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from ca.errors import CsrMalformedError, CsrNamesError

_NAMING = (NameOID.COMMON_NAME, NameOID.EMAIL_ADDRESS)
_COMMON_NAME_LENGTH = 64
"""RFC 5280 §A.1, ``ub-common-name``."""
_SHOWN = 100


def check_names(request: x509.CertificateSigningRequest, allowed: Collection[str]) -> None:
    """Refuse a request that asks for a name that is not among ``allowed`` (lower case).

    Organisations, countries and the like in the subject are no names, and are not looked at.

    Raises:
        CsrNamesError: with the first such name.
        CsrMalformedError: its names cannot be read.
    """
    try:
        asked = list(_asked(request))
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CsrMalformedError("the names in the request are not readable") from error
    for name in asked:
        if not _is_among(name.lower(), allowed):
            raise CsrNamesError(
                f"the request asks for the name {name[:_SHOWN]!a}; ask for none, or for one of:"
                f" {', '.join(sorted(allowed))}"
            )


def _is_among(name: str, allowed: Collection[str]) -> bool:
    """Programs cut what a common name cannot hold."""
    cut = len(name) == _COMMON_NAME_LENGTH
    return name in allowed or (cut and any(one.startswith(name) for one in allowed))


def _asked(request: x509.CertificateSigningRequest) -> Iterator[str]:
    for kind in _NAMING:
        for attribute in request.subject.get_attributes_for_oid(kind):
            value = attribute.value
            yield value if isinstance(value, str) else repr(value)
    try:
        found = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for name in found.value:
        plain = isinstance(name, x509.RFC822Name | x509.DNSName)
        yield str(name.value) if plain else repr(name)

"""What a certificate request asks to be called (RFC 2986, RFC 5280 §4.2.1.6).

No name of a request ever comes into a certificate. They are read so that somebody who asks for
other names than they get is told, instead of finding out from a certificate that does not fit.
"""

import ipaddress
from collections.abc import Collection, Iterator

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from ca.errors import CsrMalformedError, CsrNamesError
from ca.formats import der

_NAMING = (NameOID.COMMON_NAME, NameOID.EMAIL_ADDRESS)
_COMMON_NAME_LENGTH = 64
"""RFC 5280 §A.1, ``ub-common-name``."""
_SHOWN = 100

_EXTENSION_REQUESTS = frozenset(
    map(ObjectIdentifier, ("1.2.840.113549.1.9.14", "1.3.6.1.4.1.311.2.1.14"))
)
"""RFC 2985 §5.4.2, and what Microsoft's programs write in its place."""
_SUBJECT_ALT_NAME = bytes.fromhex("551d11")
"""2.5.29.17 in DER."""
_TEXTS = frozenset({0x81, 0x82, 0x86})
"""rfc822Name, dNSName and uniformResourceIdentifier."""
_IP_ADDRESS = 0x87


def check_names(request: x509.CertificateSigningRequest, allowed: Collection[str]) -> None:
    """Refuse a request that asks for a name that is not among ``allowed`` (lower case).

    Organisations, countries and the like in the subject are no names, and are not looked at.

    Raises:
        CsrNamesError: with the first such name.
        CsrMalformedError: its names cannot be read.
    """
    try:
        asked = list(_asked(request))
    except (ValueError, TypeError) as error:
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
    for names in _alternative_names(request):
        for tag, name in der.elements(names):
            yield _spelled(tag, name)


def _alternative_names(request: x509.CertificateSigningRequest) -> Iterator[bytes]:
    """The content of each subjectAltName.

    ``request.extensions`` would read every extension there is, and fails, with errors of many
    kinds, for ones that ask for no name.
    """
    for attribute in request.attributes:
        if attribute.oid not in _EXTENSION_REQUESTS:
            continue
        for tag, extension in der.elements(attribute.value):
            (kind, oid), *_, (_, value) = der.elements(extension)
            if (tag, kind, oid) == (der.SEQUENCE, der.OBJECT_IDENTIFIER, _SUBJECT_ALT_NAME):
                yield der.only(value, der.SEQUENCE)


def _spelled(tag: int, name: bytes) -> str:
    """As it is compared and shown; what has brackets is no name that anybody gets."""
    if tag in _TEXTS:
        return name.decode("ascii")
    if tag == _IP_ADDRESS:
        return f"<IP address {ipaddress.ip_address(name)}>"
    return f"<name of kind {tag & 0x1F}>"

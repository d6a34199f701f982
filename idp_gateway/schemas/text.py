"""Text as the API accepts it: bounded, printable, and parsed to a value where it has a meaning.

Every refusal is a ``PydanticCustomError`` whose type is the stable reason of the problem.
"""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import IPv6Network, ip_network
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from idp_gateway.serials import NONE, as_kept
from policy.addresses import DomainName, EmailAddress
from policy.errors import AddressError

MAX_PUBLIC_KEY_LENGTH = 16_384
"""Characters of one ``authorized_keys`` line; an RSA key of 16384 bits takes about 2,800."""
MAX_CSR_LENGTH = 16_384
"""Characters of a PEM certificate request."""
MAX_LIST_LENGTH = 1_000
"""Entries of one list of addresses or domains."""
MAX_NETWORKS = 16
"""Entries of one list of networks; each stands in every SSH certificate of its socket."""
MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 1_024

_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MAPPED = IPv6Network("::ffff:0:0/96")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]", re.ASCII)
_JOINERS = "\u200c\u200d"


def printable(text: str) -> str:
    """``text``, if a terminal and a log line can show it as it is.

    Controls, line breaks, bidirectional overrides and lone surrogates are refused; the two joiners
    that Persian and Indic scripts and emoji need are not.

    Raises:
        PydanticCustomError: ``control-character``.
    """
    for character in text:
        if unicodedata.category(character) in _REFUSED_CATEGORIES and character not in _JOINERS:
            raise PydanticCustomError(
                "control-character",
                "holds a control or invisible character (U+{code}), which is not allowed",
                {"code": f"{ord(character):04X}"},
            )
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("time-invalid", "must be in the years 1 to 9999") from error


def _as_text(moment: object) -> object:
    """Numbers are times to some programs, in seconds or milliseconds; here they are nonsense."""
    if isinstance(moment, datetime) or (isinstance(moment, str) and _DATE.match(moment)):
        return moment
    raise PydanticCustomError("time-invalid", "must be a time as RFC 3339 writes it")


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc), BeforeValidator(_as_text)]
"""A time with its zone, turned into UTC: just inside the calendar there may be none."""


def not_blank(text: str) -> str:
    """``text``, if it says something.

    Raises:
        PydanticCustomError: ``text-blank``.
    """
    if not text.strip():
        raise PydanticCustomError("text-blank", "must not be blank")
    return text


def email(text: str) -> str:
    """The canonical spelling of one e-mail address.

    Raises:
        PydanticCustomError: ``email-invalid``.
    """
    try:
        return str(EmailAddress.parse(text))
    except AddressError as error:
        raise PydanticCustomError("email-invalid", "{why}", {"why": str(error)}) from error


def domain(text: str) -> str:
    """The canonical spelling of one domain name.

    Raises:
        PydanticCustomError: ``domain-invalid``.
    """
    try:
        return str(DomainName.parse(text))
    except AddressError as error:
        raise PydanticCustomError("domain-invalid", "{why}", {"why": str(error)}) from error


def network(text: str) -> str:
    """The canonical spelling of an address or a network.

    Raises:
        PydanticCustomError: ``network-invalid``.
    """
    try:
        read = ip_network(text)
    except ValueError as error:
        raise PydanticCustomError(
            "network-invalid", "is no address and no network without host bits"
        ) from error
    if isinstance(read, IPv6Network) and read.network_address.scope_id:
        raise PydanticCustomError("network-invalid", "is a network of one interface alone")
    if isinstance(read, IPv6Network) and read.subnet_of(_MAPPED):
        raise PydanticCustomError("network-invalid", "is an IPv4 network: write it as one")
    return str(read)


def _sized(longest: int, what: str) -> Callable[[str], str]:
    """Refuses nothing and too much with the reasons the authority itself has for them."""

    def check(text: str) -> str:
        if not text:
            raise PydanticCustomError(f"{what}-malformed", "must not be empty")
        if len(text) > longest:
            raise PydanticCustomError(
                f"{what}-too-large", "has at most {longest} characters", {"longest": longest}
            )
        if not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text):
            raise PydanticCustomError(f"{what}-malformed", "holds half of a character")
        return text

    return check


def serial_number(text: str) -> str:
    """A serial number as the store spells it.

    Raises:
        PydanticCustomError: ``serial-invalid``.
    """
    kept = as_kept(text)
    if kept == NONE:
        raise PydanticCustomError("serial-invalid", "must be more than zeros and colons")
    return kept


def _each_once(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(texts))


Identifier = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(printable)]
"""The id of something, in a body or a query."""
ShortText = Annotated[str, Field(max_length=255), AfterValidator(printable)]
LongText = Annotated[str, Field(max_length=1_024), AfterValidator(printable)]
Name = Annotated[
    str, Field(min_length=1, max_length=255), AfterValidator(printable), AfterValidator(not_blank)
]
Email = Annotated[str, Field(max_length=254), AfterValidator(email)]
Domain = Annotated[str, Field(max_length=253), AfterValidator(domain)]
EmailList = Annotated[list[Email], Field(max_length=MAX_LIST_LENGTH), AfterValidator(_each_once)]
DomainList = Annotated[list[Domain], Field(max_length=MAX_LIST_LENGTH), AfterValidator(_each_once)]
Network = Annotated[str, Field(max_length=64), AfterValidator(network)]
NetworkList = Annotated[list[Network], Field(max_length=MAX_NETWORKS), AfterValidator(_each_once)]
SerialNumber = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"^[0-9A-Fa-f:]+$"),
    AfterValidator(serial_number),
]
"""SSH: decimal. X.509: hex, in any case, with or without colons and leading zeros."""
PublicKeyLine = Annotated[
    str,
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_PUBLIC_KEY_LENGTH}),
    AfterValidator(_sized(MAX_PUBLIC_KEY_LENGTH, "key")),
]
CertificateRequest = Annotated[
    str,
    Field(json_schema_extra={"minLength": 1, "maxLength": MAX_CSR_LENGTH}),
    AfterValidator(_sized(MAX_CSR_LENGTH, "csr")),
]

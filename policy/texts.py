"""How single values of a document are written: one function each, which refuses all else."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from ipaddress import IPv6Network, ip_address, ip_network
from types import MappingProxyType

from policy.addresses import EmailAddress
from policy.countries import COUNTRIES
from policy.errors import PolicyError
from policy.types import Action, Assurance, IPNetwork, Weekday
from policy.windows import in_utc, moment, zone_named

MAX_SESSION = timedelta(days=366)
WEEKDAYS: Mapping[str, Weekday] = MappingProxyType({day.name[:3].lower(): day for day in Weekday})
ACTIONS: Mapping[str, Action] = MappingProxyType(
    {**{str(action): action for action in Action}, "database": Action.TLS}
)
"""Words for actions; ``database`` is the original clients' word for TLS."""
NAME = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
PROGRAM = r"[A-Za-z0-9](?:[A-Za-z0-9._@-]{0,253}[A-Za-z0-9])?"
_PREFIX = re.compile(r"/(0|[1-9][0-9]{0,2})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[-+][0-9]{2}:[0-9]{2})"
)
_CLOCK = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2})?")
_SPAN = re.compile(r"(?:([0-9]{1,4})d)?(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,8})s)?")


class TextError(PolicyError):
    """A value that is not written as its place in a document wants it."""


def network(text: str) -> IPNetwork:
    """``192.0.2.0/24``, ``2001:db8::/32``, or one address for itself alone."""
    address, slash, _ = text.partition("/")
    if slash and not _PREFIX.fullmatch(text[len(address) :]):
        raise TextError(f"after the slash stands the length of the prefix: {text[:60]!r}")
    if "%" in text:
        raise TextError(f"an address with a zone (%) means nothing elsewhere: {text[:60]!r}")
    try:
        ip_address(address)
        read = ip_network(text, strict=False)
    except ValueError as error:
        raise TextError(f"not an address or CIDR: {text[:60]!r}") from error
    if slash and ip_address(address) != read.network_address:
        raise TextError(f"{text} has bits set after its prefix; did you mean {read} or {address}?")
    if isinstance(read, IPv6Network) and read.network_address.ipv4_mapped is not None:
        plain = read.network_address.ipv4_mapped
        if read.prefixlen >= 96:
            suffix = f"/{read.prefixlen - 96}" if read.prefixlen < 128 else ""
            raise TextError(f"write IPv4 as IPv4: {plain}{suffix}, not {text}")
    return read


def email(text: str) -> EmailAddress:
    """One address. ``*`` may stand in one, but whoever writes it here hopes for a pattern."""
    if "*" in text:
        raise TextError(f"there are no patterns; list the domain under domain: {text[:60]!r}")
    return EmailAddress.parse(text)


def country(text: str) -> str:
    """ISO 3166-1 alpha-2, in either case."""
    code = text.upper()
    if not text.isascii() or code not in COUNTRIES:
        raise TextError(f"not a country of ISO 3166-1 (as in NL): {text[:60]!r}")
    return code


def weekday(text: str) -> Weekday:
    if text not in WEEKDAYS:
        raise TextError(f"not one of {', '.join(WEEKDAYS)}: {text[:60]!r}")
    return WEEKDAYS[text]


def action(text: str) -> Action:
    if text not in ACTIONS:
        raise TextError(f"not one of {', '.join(ACTIONS)}: {text[:60]!r}")
    return ACTIONS[text]


def assurance(text: str) -> Assurance:
    if text not in set(Assurance):
        raise TextError(f"not one of {', '.join(Assurance)}: {text[:60]!r}")
    return Assurance(text)


def zone(text: str) -> str:
    if zone_named(text) is None:
        raise TextError(f"not UTC or an IANA zone like Europe/Amsterdam: {text[:60]!r}")
    return text


def clock(text: str) -> time:
    """``HH:MM`` or ``HH:MM:SS``."""
    hint = "; midnight is 00:00" if text.startswith("24:") else ""
    wrong = TextError(f"not a time of day like 08:00{hint}: {text[:60]!r}")
    if not _CLOCK.fullmatch(text):
        raise wrong
    try:
        return time.fromisoformat(text)
    except ValueError as error:
        raise wrong from error


def utc_clock(text: str) -> time:
    """As the original clients write it: ``HH:MM:SS UTC``."""
    if not text.endswith(" UTC"):
        raise TextError(f"not a time of day like '08:00:00 UTC': {text[:60]!r}")
    return clock(text.removesuffix(" UTC"))


def instant(text: str, within: tzinfo = UTC) -> datetime:
    """A moment with its offset (RFC 3339), or a date: its first moment in the zone ``within``."""
    try:
        if _DATE.fullmatch(text):
            return _first_moment(date.fromisoformat(text), within)
        if _MOMENT.fullmatch(text):
            return in_utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise TextError(f"no such day or time: {text!r}") from error
    raise TextError(f"not a date, or a time like 2026-03-01T09:00:00+01:00: {text[:60]!r}")


def _first_moment(day: date, within: tzinfo) -> datetime:
    try:
        return moment(day, time(0), within)
    except OverflowError as error:
        raise TextError(f"too far from today: {day}") from error


def span(text: str) -> timedelta:
    """``8h``, ``30m``, ``1h30m``, ``7d``; more than nothing."""
    found = _SPAN.fullmatch(text)
    days, hours, minutes, seconds = (
        (int(part or 0) for part in found.groups()) if found else [0] * 4
    )
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if not timedelta(0) < length <= MAX_SESSION:
        raise TextError(f"not a span like 8h, 30m or 7d, up to 366d: {text[:60]!r}")
    return length


def name(text: str) -> str:
    """The name of a prefix list."""
    if not re.fullmatch(NAME, text):
        raise TextError(f"a name has 1 to 64 of a-z, 0-9, dot, dash, underscore: {text[:60]!r}")
    return text


def program(text: str) -> str:
    """The name of a service account."""
    if not re.fullmatch(PROGRAM, text):
        raise TextError(f"not the name of a service account: {text[:60]!r}")
    return text


def title(text: str) -> str:
    """A line for people."""
    if not text.isprintable() or not 0 < len(text) <= 200:
        raise TextError("a name is one line of 1 to 200 characters")
    return text

"""The parts of a document's conditions: ``who``, ``where`` and ``when``, in both versions."""

from datetime import UTC
from typing import Any

from policy import texts
from policy.addresses import DomainName
from policy.conditions import ANYBODYS_DOMAINS, entries
from policy.cursor import Cursor, shown
from policy.names import GroupName, SubjectName
from policy.networks import Networks
from policy.types import When, Where, Who
from policy.windows import zone_named

V1_WHO = ("email", "domain")
V2_WHO = (*V1_WHO, "subject", "group", "service_account")
V1_WHERE = ("allowed_ip", "country", "country_not")
V2_WHERE = (*V1_WHERE, "prefix_list", "asn", "asn_not")
V1_WHEN = ("after", "before", "time_of_day_after", "time_of_day_before")
V2_WHEN = (*V1_WHEN, "weekday", "zone")
MAX_ASN = (1 << 32) - 1

_WHO: dict[str, tuple[str, Any]] = {
    "email": ("emails", texts.email),
    "domain": ("domains", DomainName.parse),
    "subject": ("subjects", SubjectName.parse),
    "group": ("groups", GroupName.parse),
    "service_account": ("service_accounts", texts.program),
}
_WHERE: dict[str, tuple[str, Any]] = {
    "prefix_list": ("prefix_lists", texts.name),
    "country": ("countries", texts.country),
    "country_not": ("countries_not", texts.country),
}


def read_who(place: Cursor, *, v1: bool) -> Who:
    """Whom an allowing policy lists."""
    who = _who(place, V1_WHO if v1 else V2_WHO)
    for domain in sorted(who.domains & ANYBODYS_DOMAINS):
        place.fault(f"anybody can have an address at {domain}: list addresses, not the domain")
    return who


def read_denied_who(place: Cursor) -> Who:
    """Whom a deny rule lists: somebody."""
    before = len(place.faults.found)
    who = _who(place, V2_WHO)
    if len(place.faults.found) == before and not any(True for _ in entries(who)):
        place.fault("lists nobody; leave it out to mean everybody")
    return who


def _who(place: Cursor, known: tuple[str, ...]) -> Who:
    found = place.members(known)
    return Who(**{_WHO[key][0]: at.entries(_WHO[key][1]) for key, at in found.items()})


def read_where(place: Cursor, *, v1: bool) -> Where:
    """Places. In v1 an empty list is as good as none; in v2 it is refused, for nothing meets it."""
    parts: dict[str, Any] = {}
    for key, at in place.members(V1_WHERE if v1 else V2_WHERE).items():
        if not v1:
            refuse_empty(at)
        if key in {"asn", "asn_not"}:
            parts[f"{key.replace('asn', 'asns')}"] = frozenset(_asns(at))
        elif key == "allowed_ip":
            parts["prefixes"] = Networks.of(at.each(texts.network))
        else:
            parts[_WHERE[key][0]] = at.entries(_WHERE[key][1])
    return Where(**parts)


def refuse_empty(place: Cursor) -> None:
    if place.says_nothing:
        place.fault("empty, which nothing could meet; leave it out if it is no condition")


def _asns(place: Cursor) -> list[int]:
    found = []
    for item in place.items():
        number = item.value
        if isinstance(number, bool) or not isinstance(number, int) or not 0 < number <= MAX_ASN:
            item.fault(f"not the number of an autonomous system (as in 64500): {shown(number)}")
        else:
            found.append(number)
    return found


def read_when(place: Cursor, *, v1: bool) -> When:
    """Times; of v1 in UTC, where empty text is as good as none."""
    found = place.members(V1_WHEN if v1 else V2_WHEN)
    if v1:
        found = {key: at for key, at in found.items() if at.value != ""}
    zone = next(iter(found["zone"].text(texts.zone)), "UTC") if "zone" in found else "UTC"
    within = zone_named(zone) or UTC
    parts: dict[str, Any] = {"zone": zone}
    for key in ("after", "before"):
        if key in found:
            read = found[key].text(lambda text: texts.instant(text, within))
            parts[key] = next(iter(read), None)
    for key, part in (("time_of_day_after", "day_starts"), ("time_of_day_before", "day_ends")):
        if key in found:
            read_clock = found[key].text(texts.utc_clock if v1 else texts.clock)
            parts[part] = next(iter(read_clock), None)
    if "weekday" in found:
        refuse_empty(found["weekday"])
        parts["weekdays"] = found["weekday"].entries(texts.weekday)
    when = When(**parts)
    _check(place, when)
    return when


def _check(place: Cursor, when: When) -> None:
    if when.after is not None and when.before is not None and when.after >= when.before:
        place.fault("ends (before) no later than it starts (after)")
    if when.day_starts is not None and when.day_starts == when.day_ends:
        place.fault("the time of day ends as it starts; leave both out to mean the whole day")

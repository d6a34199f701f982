"""Requests and policies for tests of ``policy``, and strategies that make all kinds of them.

The strategies draw from few names, places and times, so that rules often meet requests.
"""

from datetime import UTC, datetime, time, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from policy.addresses import DomainName, EmailAddress
from policy.names import GroupName, SubjectName
from policy.networks import Networks
from policy.types import (
    AccessRequest,
    Action,
    Assurance,
    DenyRule,
    Identity,
    IPNetwork,
    Policy,
    Socket,
    SocketType,
    Weekday,
    When,
    Where,
    Who,
)

RELAXED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""For tests whose cases are large: what is slow here is making them up."""
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""A Monday."""


def emails(text: str) -> frozenset[EmailAddress]:
    return frozenset(map(EmailAddress.parse, text.split()))


def who(**lists: str) -> Who:
    """``who(emails="a@b.test", groups="github:acme/ops")``."""
    kinds: dict[str, Any] = {
        "emails": EmailAddress.parse,
        "domains": DomainName.parse,
        "subjects": SubjectName.parse,
        "groups": GroupName.parse,
        "service_accounts": str,
    }
    return Who(**{name: frozenset(map(kinds[name], lists[name].split())) for name in lists})


def networks(text: str) -> Networks:
    return Networks.of(map(ip_network, text.split()))


def where(prefixes: str = "", **more: Any) -> Where:
    return Where(
        prefixes=networks(prefixes), **{name: frozenset(more[name].split()) for name in more}
    )


def policy(policy_id: str = "p", **parts: Any) -> Policy:
    """A policy that admits a@b.test unless told otherwise."""
    return Policy(policy_id=policy_id, **{"who": who(emails="a@b.test"), **parts})


def identity(email: EmailAddress | str | None = "a@b.test", **parts: Any) -> Identity:
    return Identity(
        **{
            "issuer": "https://idp.test",
            "subject": "1",
            "provider": "google",
            "email": EmailAddress.parse(email) if isinstance(email, str) else email,
            "name": "Somebody",
            "assurance": Assurance.PROVIDER_VERIFIED,
            "authenticated_at": NOW,
            **parts,
        }
    )


def socket(socket_type: SocketType = SocketType.HTTP, blocked: str = "") -> Socket:
    return Socket(
        socket_id="s",
        dns_name="a.edge.test",
        socket_type=socket_type,
        epoch=1,
        blocked=emails(blocked),
    )


def request(email: EmailAddress | str | None = "a@b.test", **parts: Any) -> AccessRequest:
    """Somebody asks for an HTTP socket from 192.0.2.1 on a Monday at noon."""
    own = {name: parts.pop(name) for name in list(parts) if name in IDENTITY_PARTS}
    source = parts.pop("source", "192.0.2.1")
    return AccessRequest(
        **{
            "identity": identity(email, **own),
            "socket": socket(),
            "action": Action.HTTP,
            "source_ip": ip_address(source) if isinstance(source, str) else source,
            "at": NOW,
            **parts,
        }
    )


IDENTITY_PARTS = {"subject", "provider", "assurance", "groups", "service_account"} | {
    "authenticated_at"
}

ZONES = ["UTC", "Europe/Amsterdam", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"]
DOMAINS = st.sampled_from(
    [
        DomainName.parse(name)
        for name in ("b.test", "sub.b.test", "c.test", "users.noreply.github.com")
    ]
)
EMAILS = st.builds(EmailAddress, st.sampled_from("ab"), DOMAINS)
SUBJECTS = st.one_of(
    st.builds(SubjectName, st.sampled_from(["google", "github"]), EMAILS),
    st.builds(
        SubjectName, st.sampled_from(["google", "github"]), st.none(), st.sampled_from(["1", "2"])
    ),
)
GROUPS = st.builds(GroupName, st.sampled_from(["google", "github"]), st.sampled_from(["g", "h"]))
PROGRAMS = st.sampled_from(["backup", "deploy"])
WHOS = st.builds(
    Who,
    emails=st.frozensets(EMAILS, max_size=2),
    domains=st.frozensets(DOMAINS, max_size=2),
    subjects=st.frozensets(SUBJECTS, max_size=1),
    groups=st.frozensets(GROUPS, max_size=1),
    service_accounts=st.frozensets(PROGRAMS, max_size=1),
)
_NUMBERS = st.integers(0, 15)
ADDRESSES = st.one_of(
    st.builds(lambda n: ip_address(f"192.0.2.{n}"), _NUMBERS),
    st.builds(lambda n: ip_address(f"2001:db8::{n:x}"), _NUMBERS),
    st.builds(lambda n: ip_address(f"::ffff:192.0.2.{n}"), _NUMBERS),
    st.ip_addresses(),
)
NETWORKS: st.SearchStrategy[IPNetwork] = st.one_of(
    st.builds(
        lambda n, p: ip_network((f"192.0.2.{n}", p), strict=False), _NUMBERS, st.integers(28, 32)
    ),
    st.builds(
        lambda n, p: ip_network((f"2001:db8::{n:x}", p), strict=False),
        _NUMBERS,
        st.integers(124, 128),
    ),
    st.sampled_from([ip_network("0.0.0.0/0"), ip_network("::/0"), ip_network("0.0.0.0/1")]),
)
PREFIX_LISTS = st.dictionaries(
    st.sampled_from(["one", "two"]), st.lists(NETWORKS, max_size=3).map(tuple), max_size=2
)
COUNTRIES = st.sampled_from(["NL", "DE", "US"])
ASNS = st.integers(64496, 64498)
WHERES = st.builds(
    Where,
    prefixes=st.lists(NETWORKS, max_size=3).map(Networks.of),
    prefix_lists=st.frozensets(st.sampled_from(["one", "two"]), max_size=1),
    countries=st.frozensets(COUNTRIES, max_size=2),
    countries_not=st.frozensets(COUNTRIES, max_size=1),
    asns=st.frozensets(ASNS, max_size=2),
    asns_not=st.frozensets(ASNS, max_size=1),
)
ADDRESS_WHERES = st.builds(
    Where,
    prefixes=st.lists(NETWORKS, max_size=3).map(Networks.of),
    prefix_lists=st.frozensets(st.sampled_from(["one", "two"]), max_size=1),
)
_CHANGES = [NOW, datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)]
MOMENTS = st.one_of(
    st.builds(
        lambda base, minutes: base + timedelta(minutes=minutes),
        st.sampled_from(_CHANGES),
        st.integers(-5 * 1440, 5 * 1440),
    ),
    st.datetimes(timezones=st.just(UTC)),
)
NEAR_MOMENTS = st.builds(
    lambda base, minutes: base + timedelta(minutes=minutes),
    st.sampled_from(_CHANGES),
    st.integers(-5 * 1440, 5 * 1440),
)
CLOCKS = st.one_of(
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 15, 30])),
    st.sampled_from([time(0), time(2, 30), time(23, 59, 59, 999999)]),
)
WHENS = st.builds(
    When,
    after=st.none() | MOMENTS,
    before=st.none() | MOMENTS,
    day_starts=st.none() | CLOCKS,
    day_ends=st.none() | CLOCKS,
    weekdays=st.frozensets(st.sampled_from(Weekday), max_size=6),
    zone=st.sampled_from(ZONES),
)
DENIES = st.builds(
    DenyRule,
    who=st.none() | WHOS,
    where=st.none() | ADDRESS_WHERES | WHERES,
    when=st.none() | WHENS,
)
SPANS = st.none() | st.sampled_from([timedelta(hours=1), timedelta(hours=8), timedelta(days=7)])
NO_WHERE, NO_WHEN = st.just(Where()), st.just(When())
POLICIES = st.builds(
    Policy,
    policy_id=st.sampled_from("pqrstu"),
    actions=st.just(frozenset(Action)) | st.frozensets(st.sampled_from(Action)),
    who=WHOS,
    where=NO_WHERE | ADDRESS_WHERES | WHERES,
    when=NO_WHEN | WHENS,
    min_assurance=st.none() | st.sampled_from(Assurance),
    client_proof=st.booleans(),
    max_session=SPANS,
    denies=st.lists(DENIES, max_size=1).map(tuple),
)
IDENTITIES = st.builds(
    Identity,
    issuer=st.just("https://idp.test"),
    subject=st.sampled_from(["1", "2", "3"]),
    provider=st.sampled_from(["", "google", "github"]),
    email=st.none() | EMAILS | EMAILS,
    name=st.just("Somebody"),
    assurance=st.sampled_from(Assurance),
    groups=st.frozensets(GROUPS, max_size=2),
    service_account=st.none() | st.none() | PROGRAMS,
    authenticated_at=NEAR_MOMENTS,
)
SOCKETS = st.builds(
    Socket,
    socket_id=st.just("s"),
    dns_name=st.just("a.edge.test"),
    socket_type=st.sampled_from(SocketType),
    epoch=st.just(1),
    blocked=st.frozensets(EMAILS, max_size=1),
)
REQUESTS = st.builds(
    AccessRequest,
    identity=IDENTITIES,
    socket=SOCKETS,
    action=st.sampled_from(Action),
    source_ip=ADDRESSES,
    country=st.none() | COUNTRIES,
    asn=st.none() | ASNS,
    client_proof=st.booleans(),
    at=NEAR_MOMENTS,
)
"""Most of them are refused; ``likely_requests`` makes those that are not."""


@st.composite
def likely_requests(draw: st.DrawFn, policies: list[Policy]) -> AccessRequest:
    """Requests of whom one of ``policies`` names, for what a socket offers: often allowed."""
    asked = draw(REQUESTS)
    named = [
        entry for one in policies for entry in [*sorted(one.who.emails), *sorted(one.who.domains)]
    ]
    if not named:
        return asked
    entry = draw(st.sampled_from(named))
    email = entry if isinstance(entry, EmailAddress) else EmailAddress("z", entry)
    return AccessRequest(
        identity=identity(email, authenticated_at=asked.at, groups=asked.identity.groups),
        socket=socket(SocketType.TLS),
        action=draw(st.sampled_from([Action.TLS, Action.SSH])),
        source_ip=asked.source_ip,
        country=asked.country or "NL",
        asn=asked.asn or 64496,
        client_proof=True,
        at=asked.at,
    )


_ADMITTED = who(emails="a@b.test")
_OFTEN_DENIED = st.one_of(
    st.builds(DenyRule, where=ADDRESS_WHERES.filter(lambda place: bool(place.prefixes))),
    st.builds(
        DenyRule,
        who=st.just(_ADMITTED),
        where=st.builds(Where, prefixes=st.lists(NETWORKS).map(Networks.of)),
    ),
    st.builds(DenyRule, who=st.none() | WHOS, when=WHENS),
    st.builds(DenyRule, where=ADDRESS_WHERES, when=WHENS),
)


@st.composite
def friendly_cases(
    draw: st.DrawFn,
) -> tuple[list[Policy], AccessRequest, dict[str, tuple[IPNetwork, ...]]]:
    """Policies that all list a@b.test, who asks: what is decided hangs on where and when."""
    policies = draw(
        st.lists(
            st.builds(
                Policy,
                policy_id=st.sampled_from("pqr"),
                who=st.just(_ADMITTED),
                where=NO_WHERE | ADDRESS_WHERES,
                when=NO_WHEN | WHENS,
                max_session=st.none() | SPANS,
                denies=st.just(()) | st.just(()) | st.tuples(_OFTEN_DENIED),
            ),
            min_size=1,
            max_size=3,
        )
    )
    at = draw(NEAR_MOMENTS)
    asked = request(at=at, authenticated_at=at, source=draw(ADDRESSES))
    return policies, asked, draw(PREFIX_LISTS)

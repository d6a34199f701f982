"""The gateway's own feed, read by the edge: what one writes the other takes, to the digest."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import pytest

from idp_gateway.address_rules import AddressRules
from idp_gateway.canonical import canonical
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.feed import Feed
from idp_gateway.feed_state import FeedState
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.settings import Settings
from idp_gateway.store.edges import FeedRows
from idp_gateway.store.policies import Author
from idp_gateway.told_rules import Told, key_of
from policy.addresses import EmailAddress
from policy.native import MAX_NETWORKS
from policy.networks import Networks
from policy.policy_set import PolicySet
from policy.types import DenyRule, Policy, SocketType, Where, Who
from proxy.envoy.source_chains import parts_of
from proxy.feed import CanonicalTexts, Delta, Heartbeat, Snapshot, apply, parse_message
from proxy.state import EdgeSocket, EdgeState, SourceRule
from tests.support import rows
from tests.support.ready_database import place_sqlite


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    settings = Settings(state_dir=tmp_path / "state")
    place_sqlite(settings.state_dir / "gateway.db")
    gateway = build_gateway(settings, clock=lambda: datetime.now(UTC))
    yield gateway
    gateway.close()


class FollowingEdge:
    """The edge's own parser at the end of a gateway's stream."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self.lines = lines
        self.state: EdgeState | None = None
        self.texts = CanonicalTexts()
        self.kinds: list[type] = []

    async def reach(self, revision: int) -> EdgeState:
        """Read until the state is of this revision."""
        async with asyncio.timeout(10):
            while self.state is None or self.state.revision < revision:
                message = parse_message(await anext(self.lines))
                self.kinds.append(type(message))
                if not isinstance(message, Heartbeat):
                    self.state = apply(self.state, message, self.texts)
        return self.state


def add(gateway: Gateway, name: str, socket_type: SocketType) -> tuple[AccountRecord, SocketRecord]:
    owner = rows.account(ssh_key="ssh-ed25519 AAAA comment with \u00fc and\ttab")
    gateway.store.add_account(owner)
    socket = replace(
        rows.socket(owner, name=name, upstream_http_hostname="inner.test"), socket_type=socket_type
    )
    stored = gateway.store.add_socket(socket, ports=rows.PORTS, tunnel_id=f"t-{socket_type}")
    return owner, stored


@pytest.mark.parametrize("socket_type", list(SocketType))
async def test_a_snapshot_is_accepted(gateway: Gateway, socket_type: SocketType) -> None:
    owner, socket = add(gateway, '\u00dcn\u00ef "quoted" \\ \x1b \u2713', socket_type)
    edge = FollowingEdge(gateway.feed.stream(0, "e1"))
    state = await edge.reach(gateway.store.revision())
    assert edge.kinds == [Snapshot]
    assert state.sockets[socket.socket_id].name == socket.name
    assert state.sockets[socket.socket_id].socket_type is socket_type
    assert state.tunnels[f"t-{socket_type}"].user_name == owner.account_id.replace("-", "")
    assert state.trust.issuer == gateway.settings.base_url


async def test_deltas_are_accepted_and_lead_where_a_snapshot_leads(gateway: Gateway) -> None:
    edge = FollowingEdge(gateway.feed.stream(0, "e1"))
    await edge.reach(gateway.store.revision())
    for name, socket_type in (("one", SocketType.HTTP), ("two", SocketType.TLS)):
        _, socket = add(gateway, name, socket_type)
        state = await edge.reach(gateway.store.revision())
        assert state.sockets[socket.socket_id].name == name
    assert Delta in edge.kinds
    other = FollowingEdge(gateway.feed.stream(0, "e2"))
    assert await other.reach(gateway.store.revision()) == edge.state


def rules_of(
    where: Where, *, denies: tuple[DenyRule, ...] = (), somebody: bool = True
) -> AddressRules:
    emails = frozenset({EmailAddress.parse("ann@corp.test")} if somebody else ())
    policy = Policy(policy_id="p", who=Who(emails=emails), where=where, denies=denies)
    return AddressRules.of(PolicySet.build([policy]))


def fed(
    rules: AddressRules, socket_type: SocketType, *, identity: bool, name: str = "web"
) -> EdgeSocket:
    """What an edge's own parser makes of a gateway's snapshot with one socket."""
    owner = rows.account()
    socket = replace(
        rows.socket(owner, socket_id="s-1", name=name),
        socket_type=socket_type,
        port=20000 if socket_type.has_own_port else None,
        cloud_authentication_enabled=identity,
    )
    trust = {
        "issuer": "https://gateway.test",
        "session_jwks": {"keys": []},
        "client_ca": "",
        "tunnel_user_ca": [],
        "tunnel_user_ca_past": [],
    }
    state = FeedState(trust=canonical(trust), http_ports=(443,))
    state.apply(
        FeedRows(revision=1, complete=True, sockets=(socket,)),
        {"s-1": Told(key_of(socket), rules, rows.NOW, 1)},
    )
    message = parse_message(state.snapshot())
    assert isinstance(message, Snapshot)
    return apply(None, message).sockets["s-1"]


OFFICE = ip_network("192.0.2.0/24")
IN_OFFICE = Where(prefixes=Networks.of([OFFICE, ip_network("192.0.2.7/32")]))
SCATTERED = Networks.of(ip_network((number << 79 | 1, 128)) for number in range(1, 400))
"""So far apart that everything else is twenty thousand networks and more."""
NOT_HERE = DenyRule(where=Where(prefixes=Networks.of([ip_network("192.0.2.128/25")])))


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("socket_type", list(SocketType))
def test_rules_about_addresses_reach_the_edges_that_can_enforce_them(
    socket_type: SocketType, *, identity: bool
) -> None:
    socket = fed(rules_of(IN_OFFICE, denies=(NOT_HERE,)), socket_type, identity=identity)
    if not socket_type.has_own_port:
        assert (socket.source_rule, dict(socket.source_sets)) == (SourceRule(), {})
        return
    rule = socket.source_rule
    assert (rule.allow, rule.deny) == ((OFFICE,), (ip_network("192.0.2.128/25"),))
    assert list(socket.source_sets.values()) == ([(OFFICE,)] if identity else [])


def test_without_rules_about_addresses_a_socket_says_nothing_of_them() -> None:
    for rules in (AddressRules(), AddressRules.of(PolicySet.build([])), rules_of(Where())):
        socket = fed(rules, SocketType.TLS, identity=True)
        assert (socket.source_rule, dict(socket.source_sets)) == (SourceRule(), {})


def test_policies_that_name_nobody_hold_what_asks_nobody_to_their_addresses() -> None:
    """Taking the last person out of a policy must not open a port to everybody."""
    nobody = rules_of(IN_OFFICE, denies=(NOT_HERE,), somebody=False)
    assert fed(nobody, SocketType.TLS, identity=True).source_rule.allow == ()
    rule = fed(nobody, SocketType.TLS, identity=False).source_rule
    assert (rule.allow, rule.deny) == ((OFFICE,), (ip_network("192.0.2.128/25"),))
    unbounded = rules_of(Where(), denies=(NOT_HERE,), somebody=False)
    rule = fed(unbounded, SocketType.TCP, identity=False).source_rule
    assert (rule.allow, rule.deny) == (None, (ip_network("192.0.2.128/25"),))


def test_a_list_that_is_gone_opens_no_port() -> None:
    where = Where(prefix_lists=frozenset({"gone"}))
    assert fed(rules_of(where), SocketType.TCP, identity=False).source_rule.allow == ()


async def test_what_cannot_be_read_is_closed_at_the_edge_and_nothing_else_is(
    gateway: Gateway,
) -> None:
    owner, closed = add(gateway, "bad", SocketType.TCP)
    _, served = add(gateway, "good", SocketType.TLS)
    at = datetime.now(UTC)
    damaged = PolicyRecord(
        policy_id="damaged",
        account_id=owner.account_id,
        name="damaged",
        description="",
        document='{"version":"v3"}',
        org_wide=True,
        created_at=at,
        updated_at=at,
    )
    gateway.store.add_policy(damaged, Author(email=owner.email, at=at))
    edge = FollowingEdge(gateway.feed.stream(0, "e1"))
    state = await edge.reach(gateway.store.revision())
    kept_out = {ip_network("0.0.0.0/0"), ip_network("::/0")}
    assert set(state.sockets[closed.socket_id].source_rule.deny) == kept_out
    assert state.sockets[served.socket_id].source_rule == SourceRule()


async def test_rules_that_cannot_be_made_close_one_socket_at_the_edge(tmp_path: Path) -> None:
    def rules(sockets: Sequence[SocketRecord]) -> Mapping[str, AddressRules]:
        if any(socket.name == "bad" for socket in sockets):
            raise ValueError("no such rules")
        return {}

    gateway = build_gateway(Settings(state_dir=tmp_path / "state"), clock=lambda: datetime.now(UTC))
    feed = Feed(
        store=gateway.store,
        trust=gateway.trust,
        http_ports=(80,),
        clock=gateway.clock,
        address_rules=rules,
    )
    _, bad = add(gateway, "bad", SocketType.TCP)
    _, good = add(gateway, "good", SocketType.TLS)
    edge = FollowingEdge(feed.stream(0, "e1"))
    told = (await edge.reach(gateway.store.revision())).sockets
    assert told[good.socket_id].source_rule == SourceRule()
    assert told[bad.socket_id].source_rule.deny == (ip_network("0.0.0.0/0"), ip_network("::/0"))
    gateway.close()


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("socket_type", [SocketType.TCP, SocketType.TLS])
def test_a_socket_whose_certificates_could_not_be_held_to_addresses_is_closed(
    socket_type: SocketType, *, identity: bool
) -> None:
    """Where no certificate is asked for, the rule itself is told, and holds."""
    where = Where(prefixes=SCATTERED)
    somebody = Who(emails=frozenset({EmailAddress.parse("eve@corp.test")}))
    rules = rules_of(Where(), denies=(DenyRule(who=somebody, where=where), DenyRule(where=where)))
    socket = fed(rules, socket_type, identity=identity)
    assert socket.source_rules_too_large == identity
    assert len(socket.source_rule.deny) == (0 if identity else len(SCATTERED))
    assert not socket.source_sets
    assert (parts_of(socket) is None) == identity


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("socket_type", [SocketType.TCP, SocketType.TLS])
def test_what_is_denied_to_everybody_closes_nothing_else(
    socket_type: SocketType, *, identity: bool
) -> None:
    rules = rules_of(Where(), denies=(DenyRule(where=Where(prefixes=SCATTERED)),))
    socket = fed(rules, socket_type, identity=identity)
    assert not socket.source_rules_too_large
    assert socket.source_rule.deny == SCATTERED.listed
    parts = parts_of(socket) or ()
    assert [(part.closed, len(part.prefixes)) for part in parts] == [
        (False, 0),
        (True, len(SCATTERED)),
    ]


@pytest.mark.parametrize("identity", [True, False])
@pytest.mark.parametrize("socket_type", [SocketType.TCP, SocketType.TLS])
def test_a_rule_too_large_for_edges_closes_whatever_it_is_on(
    socket_type: SocketType, *, identity: bool
) -> None:
    many = Networks.of(ip_network((number << 8, 32)) for number in range(MAX_NETWORKS + 1))
    rules = rules_of(Where(), denies=(DenyRule(where=Where(prefixes=many)),))
    assert fed(rules, socket_type, identity=identity).source_rules_too_large


def test_what_edges_are_told_of_rules_is_written_once_for_all_sockets() -> None:
    rules = rules_of(IN_OFFICE, denies=(NOT_HERE,))
    made = {"socket_type": SocketType.TLS, "port": 20000, "cloud_authentication_enabled": True}
    one, other = (rows.socket(rows.account(), socket_id=key, **made) for key in ("s-1", "s-2"))
    assert rules.members(one)["source_sets"] is rules.members(other)["source_sets"]
    asks_nobody = replace(one, cloud_authentication_enabled=False)
    assert rules.members(asks_nobody).keys() == {"source_rule"}


def test_a_name_that_looks_like_a_rule_is_a_name() -> None:
    name = '"source_rule":null'
    told = fed(rules_of(IN_OFFICE), SocketType.TLS, identity=True, name=name)
    assert (told.name, told.source_rule.allow) == (name, (OFFICE,))

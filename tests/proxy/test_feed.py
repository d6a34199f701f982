"""The feed's messages: strictness, digests, and that deltas lead where snapshots lead."""

import contextlib
import dataclasses
import hashlib
import itertools
import json
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.types import SocketType
from proxy.errors import FeedError
from proxy.feed import (
    CanonicalTexts,
    Delta,
    Heartbeat,
    Snapshot,
    apply,
    canonical,
    digest,
    document,
    parse_message,
    snapshot_line,
)
from proxy.state import BasicAuth, EdgeSocket, EdgeState, EdgeTunnel, SourceRule, Trust, TunnelUser
from tests.support.edge_gateway import delta_message
from tests.support.edge_state import ALICE, Edge, edge_socket, new_key


def changed(state: EdgeState, **changes: Any) -> EdgeState:
    return dataclasses.replace(state, **changes)


def through_feed(
    old: EdgeState | None, message: dict[str, Any], texts: CanonicalTexts | None = None
) -> EdgeState:
    parsed = parse_message(json.dumps(message).encode())
    assert not isinstance(parsed, Heartbeat)
    return apply(old, parsed, texts)


@pytest.fixture
def state() -> EdgeState:
    return Edge(keys={ALICE: [new_key()]}).state()


def test_a_snapshot_leads_to_the_state_it_was_made_from(state: EdgeState) -> None:
    message = parse_message(snapshot_line(state))
    assert isinstance(message, Snapshot)
    assert apply(None, message) == state


def test_the_digest_is_of_sorted_unescaped_json_without_blanks() -> None:
    state = EdgeState(
        revision=7,
        trust=Trust(issuer="https://ü", session_jwks={"keys": []}, client_ca="", tunnel_user_ca=()),
    )
    text = (
        '{"sockets":{},"trust":{"client_ca":"","issuer":"https://ü","session_jwks":{"keys":[]},'
        '"tunnel_user_ca":[],"tunnel_user_ca_past":[]},"tunnel_users":{},"tunnels":{}}'
    )
    assert digest(state) == hashlib.sha256(text.encode()).hexdigest()


def test_the_parts_joined_are_the_canonical_whole(state: EdgeState) -> None:
    assert CanonicalTexts().body(state) == canonical(document(state))


def test_a_heartbeat_is_read() -> None:
    assert parse_message(b'{"type":"heartbeat","revision":3}') == Heartbeat(
        type="heartbeat", revision=3
    )


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("state",),
        ("state", "trust"),
        ("state", "sockets", "web-id"),
        ("state", "tunnels", "t-1"),
    ],
)
def test_a_key_nobody_knows_is_refused(state: EdgeState, path: tuple[str, ...]) -> None:
    message = json.loads(snapshot_line(state))
    place = message
    for part in path:
        place = place[part]
    place["surprise"] = 1
    with pytest.raises(FeedError) as refusal:
        parse_message(json.dumps(message).encode())
    assert refusal.value.reason == "malformed"


@pytest.mark.parametrize(
    ("kind", "key", "name", "value"),
    [
        ("sockets", "web-id", "epoch", "1"),
        ("sockets", "web-id", "epoch", True),
        ("sockets", "web-id", "socket_type", "ftp"),
        ("sockets", "web-id", "ports", [0]),
        ("sockets", "web-id", "identity_required", 1),
        ("sockets", "web-id", "dns_name", "web.edge.localhost:443"),
        ("sockets", "web-id", "basic_auth", {"username": "x"}),
        ("sockets", "web-id", "source_rule", None),
        ("sockets", "web-id", "source_rules_too_large", False),
        ("sockets", "web-id", "source_rule", {"allow": None, "deny": []}),
        ("sockets", "web-id", "source_rule", {"allow": []}),
        ("sockets", "web-id", "source_rule", {"allow": ["192.0.2.1/24"], "deny": []}),
        ("sockets", "web-id", "source_rule", {"allow": ["192.0.2.1"], "deny": []}),
        ("sockets", "web-id", "source_rule", {"allow": None, "deny": ["2001:DB8::/32"]}),
        ("sockets", "web-id", "source_rule", {"allow": None, "deny": [16]}),
        ("sockets", "web-id", "source_rule", {"allow": None, "deny": ["fe80::1%eth0/128"]}),
        ("sockets", "web-id", "source_sets", None),
        ("sockets", "web-id", "source_sets", {}),
        ("sockets", "web-id", "source_sets", {"0123456789abcde": ["192.0.2.0/24"]}),
        ("sockets", "web-id", "source_sets", {"0123456789ABCDEF": ["192.0.2.0/24"]}),
        ("sockets", "web-id", "source_sets", {"0123456789abcdef": "192.0.2.0/24"}),
        ("tunnels", "t-1", "tunnel_id", "../../etc/x"),
        ("tunnels", "t-1", "tunnel_id", "t-2"),
        ("tunnels", "t-1", "user_name", "root"),
        ("tunnels", "t-1", "local_port", 65536),
        ("tunnel_users", ALICE, "public_keys", "ssh-ed25519 AAAA"),
    ],
)
def test_a_wrong_value_is_refused(
    state: EdgeState, kind: str, key: str, name: str, value: object
) -> None:
    message = json.loads(snapshot_line(state))
    message["state"][kind][key][name] = value
    with pytest.raises(FeedError):
        through_feed(None, message)


def test_rules_about_addresses_are_taken_over_and_told_again(state: EdgeState) -> None:
    rule = {"allow": ["192.0.2.0/24", "2001:db8::/32"], "deny": ["192.0.2.9/32"]}
    sets = {"0123456789abcdef": ["192.0.2.0/25"], "00ff00ff00ff00ff": []}
    message = json.loads(snapshot_line(state))
    message["state"]["sockets"]["web-id"] |= {"source_rule": rule, "source_sets": sets}
    text = canonical(message["state"])
    message["digest"] = hashlib.sha256(text).hexdigest()
    read = through_feed(None, message)
    socket = read.sockets["web-id"]
    assert socket.source_rule == SourceRule(
        allow=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
        deny=(ip_network("192.0.2.9/32"),),
    )
    assert dict(socket.source_sets) == {
        "0123456789abcdef": (ip_network("192.0.2.0/25"),),
        "00ff00ff00ff00ff": (),
    }
    assert canonical(document(read)) == text


def test_a_gateway_that_knows_of_no_such_rules_is_understood(state: EdgeState) -> None:
    assert b"source" not in snapshot_line(state)
    read = through_feed(None, json.loads(snapshot_line(state)))
    socket = read.sockets["web-id"]
    assert (socket.source_rule, dict(socket.source_sets)) == (SourceRule(), {})


@pytest.mark.parametrize("line", [b"", b"[]", b"{", b'{"type":"else"}', b"\xff", b"null"])
def test_what_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(FeedError):
        parse_message(line)


@given(st.binary(max_size=200))
def test_the_parser_is_total(line: bytes) -> None:
    with contextlib.suppress(FeedError):
        parse_message(line)


def test_a_state_that_differs_from_the_digest_is_refused(state: EdgeState) -> None:
    message = json.loads(snapshot_line(state))
    message["state"]["sockets"]["web-id"]["epoch"] += 1
    with pytest.raises(FeedError) as refusal:
        through_feed(None, message)
    assert refusal.value.reason == "digest-mismatch"


@pytest.mark.parametrize(("base", "revision"), [(0, 2), (2, 3), (1, 1)])
def test_a_delta_from_elsewhere_is_refused(state: EdgeState, base: int, revision: int) -> None:
    message = delta_message(state, state) | {"base": base, "revision": revision}
    with pytest.raises(FeedError) as refusal:
        through_feed(state, message)
    assert refusal.value.reason == "gap"


def test_a_delta_on_top_of_nothing_is_refused(state: EdgeState) -> None:
    message = delta_message(state, changed(state, revision=2))
    with pytest.raises(FeedError) as refusal:
        through_feed(None, message)
    assert refusal.value.reason == "gap"


def test_a_delta_leaves_what_it_does_not_name_as_it_is(state: EdgeState) -> None:
    sockets = {**state.sockets, "new-id": edge_socket("new")}
    result = through_feed(state, delta_message(state, changed(state, revision=2, sockets=sockets)))
    assert result.sockets["web-id"] is state.sockets["web-id"]
    assert result.trust is state.trust
    assert result.sockets["new-id"].dns_name == "new.edge.localhost"


# Any sequence of deltas leads to the state that a snapshot of the last one leads to.

KEYS = [new_key() for _ in range(2)]
IDENTIFIERS = st.sampled_from(["a", "b", "c"])
SOCKETS = st.builds(
    EdgeSocket,
    socket_id=IDENTIFIERS,
    dns_name=st.sampled_from(["x.edge.localhost", "y.edge.localhost"]),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    socket_type=st.sampled_from(SocketType),
    ports=st.lists(st.integers(1, 65535), max_size=2).map(tuple),
    epoch=st.integers(0, 2**40),
    identity_required=st.booleans(),
    basic_auth=st.none() | st.builds(BasicAuth, username=st.text("ab"), password=st.text("ü\x00")),
    upstream_http_hostname=st.none() | st.just("origin.test"),
)
TUNNELS = st.builds(
    EdgeTunnel,
    tunnel_id=IDENTIFIERS,
    socket_id=IDENTIFIERS,
    local_port=st.integers(1, 65535),
    user_name=st.sampled_from([ALICE, "b" * 32]),
)
USERS = st.builds(
    TunnelUser,
    user_name=st.sampled_from([ALICE, "b" * 32]),
    public_keys=st.lists(st.sampled_from(["ssh-ed25519 A", "ssh-ed25519 B"])).map(tuple),
    generation=st.integers(1, 3),
)
TRUSTS = st.builds(
    Trust,
    issuer=st.just("https://gateway.localhost"),
    session_jwks=st.just({"keys": [{"kty": "EC"}]}) | st.just({"keys": []}),
    client_ca=st.sampled_from(["", "PEM"]),
    tunnel_user_ca=st.just(()),
    tunnel_user_ca_past=st.sampled_from([(), ("ssh-ed25519 A",)]),
)


@st.composite
def states(draw: st.DrawFn) -> EdgeState:
    return EdgeState(
        revision=0,
        trust=draw(TRUSTS),
        sockets={item.socket_id: item for item in draw(st.lists(SOCKETS, max_size=3))},
        tunnels={item.tunnel_id: item for item in draw(st.lists(TUNNELS, max_size=3))},
        tunnel_users={item.user_name: item for item in draw(st.lists(USERS, max_size=2))},
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(states(), min_size=1, max_size=6))
def test_deltas_lead_where_snapshots_lead(history: list[EdgeState]) -> None:
    numbered = [changed(state, revision=number) for number, state in enumerate(history, start=1)]
    texts = CanonicalTexts()
    current = through_feed(None, json.loads(snapshot_line(numbered[0])), texts)
    for before, after in itertools.pairwise(numbered):
        current = through_feed(current, delta_message(before, after), texts)
        assert document(current) == document(after)
    last = parse_message(snapshot_line(numbered[-1]))
    assert not isinstance(last, (Delta, Heartbeat))
    assert current == apply(None, last)

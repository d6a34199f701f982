"""What is built whole equals what is built step by step, and only changes are sent."""

from dataclasses import replace

import pytest

from policy.types import SocketType
from proxy.envoy.build import build, refusal
from proxy.envoy.protos import CLUSTER, LISTENER, SECRET, decode
from proxy.envoy.resources import diff
from tests.support.envoy_inputs import (
    CERTIFICATE,
    ENDPOINTS,
    LOCK,
    SETTINGS,
    SOCKETS,
    TRUST,
    socket,
    state,
)


def test_a_changed_http_socket_is_one_cluster() -> None:
    before = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE)
    app = replace(SOCKETS[0], epoch=8)
    now = state(app, *SOCKETS[1:])
    after = build(now, ENDPOINTS, SETTINGS, CERTIFICATE, previous=before, changed=[app.socket_id])
    changes = diff(before, after)
    assert list(changes.upserted) == [(CLUSTER, "app.edge.localhost")]
    assert not changes.removed
    whole = build(now, ENDPOINTS, SETTINGS, CERTIFICATE)
    assert (after.sockets, after.shared) == (whole.sockets, whole.shared)
    assert not diff(after, whole).upserted


def test_a_new_endpoint_of_a_tls_socket_touches_no_listener() -> None:
    before = build(state(*SOCKETS), {}, SETTINGS, CERTIFICATE)
    changed = ["id-db"]
    now = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE, previous=before, changed=changed)
    assert list(diff(before, now).upserted) == [(CLUSTER, "stream:id-db")]


def test_a_socket_that_is_gone_takes_all_its_resources_along() -> None:
    before = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE)
    rest = state(*(one for one in SOCKETS if one.socket_id != "id-db"))
    for after in (
        build(rest, {}, SETTINGS, CERTIFICATE, previous=before, changed=["id-db"]),
        build(rest, ENDPOINTS, SETTINGS, CERTIFICATE, previous=before),
    ):
        assert diff(before, after).removed == {
            (CLUSTER, "stream:id-db"),
            (LISTENER, "stream:id-db:20001"),
            (LISTENER, "stream:id-db:20002"),
        }


def test_a_renewed_certificate_is_one_secret() -> None:
    before = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE)
    new = replace(CERTIFICATE, chain_pem="other\n")
    after = build(state(*SOCKETS), ENDPOINTS, SETTINGS, new, previous=before, changed=[])
    assert list(diff(before, after).upserted) == [(SECRET, "server")]


def test_a_new_session_key_is_noticed_though_no_socket_changed() -> None:
    before = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE)
    trust = replace(TRUST, session_jwks={"keys": []})
    now = state(*SOCKETS, trust=trust)
    after = build(now, ENDPOINTS, SETTINGS, CERTIFICATE, previous=before, changed=[])
    assert list(diff(before, after).upserted) == [(LISTENER, "https")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": SocketType.TCP}, "identity-not-checkable"),
        ({"kind": SocketType.TLS, "basic_auth": LOCK}, "basic-auth-not-checkable"),
        ({"kind": SocketType.HTTP, "dns_name": "evil.example"}, "name-not-ours"),
        ({"kind": SocketType.HTTP, "dns_name": "edge.localhost"}, "name-not-ours"),
        ({"kind": SocketType.HTTP, "dns_name": "evil-edge.localhost"}, "name-not-ours"),
        ({"kind": SocketType.HTTP, "dns_name": "internal:gateway"}, "name-not-ours"),
    ],
)
def test_what_cannot_be_protected_is_not_served(changes: dict, reason: str) -> None:
    one = socket("x", changes.pop("kind"), **changes)
    assert refusal(one, TRUST, SETTINGS) == reason
    built = build(state(one), {}, SETTINGS, CERTIFICATE)
    assert (dict(built.sockets), dict(built.refused)) == ({}, {one.socket_id: reason})


def test_without_a_client_ca_identity_sockets_of_type_tls_stay_shut() -> None:
    trust = replace(TRUST, client_ca="")
    bare = build(state(*SOCKETS, trust=trust), {}, SETTINGS, CERTIFICATE)
    assert dict(bare.refused) == dict.fromkeys(["id-db", "id-office"], "no-client-ca")
    now = build(state(*SOCKETS), {}, SETTINGS, CERTIFICATE, previous=bare, changed=[])
    assert "id-db" in now.sockets


def test_secrets_are_in_no_representation() -> None:
    built = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE)
    assert "not-a-key" not in repr(built)
    assert "key\\n" not in repr(built)


def test_the_client_certificate_is_matched_in_the_handshake_exactly() -> None:
    built = build(state(*SOCKETS), ENDPOINTS, SETTINGS, CERTIFICATE)
    content = built.sockets["id-db"][LISTENER, "stream:id-db:20001"].content
    (chain,) = decode(LISTENER, content)["filter_chains"]
    context = chain["transport_socket"]["typed_config"]
    assert context["require_client_certificate"] is True
    assert context["disable_stateless_session_resumption"] is True
    assert context["disable_stateful_session_resumption"] is True
    validation = context["common_tls_context"]["combined_validation_context"]
    (matcher,) = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert matcher == {"san_type": "URI", "matcher": {"exact": "urn:mysocket:socket:id-db:7"}}

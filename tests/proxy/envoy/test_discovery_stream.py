"""The delta protocol, message by message."""

from dataclasses import replace
from typing import Any

from proxy.envoy.build import build
from proxy.envoy.discovery_stream import Subscriptions
from proxy.envoy.protos import CLUSTER, LISTENER, SECRET, discovery_pb2
from proxy.envoy.resources import Resources, diff
from tests.support.envoy_inputs import CERTIFICATE, SETTINGS, SOCKETS, socket, state


def request(type_url: str, **fields: Any) -> Any:
    return discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)


def acknowledge(stream: Subscriptions, response: Any, error: str = "") -> Any:
    message = request(response.type_url, response_nonce=response.nonce)
    if error:
        message.error_detail.message = error
    return stream.take(message)


def wanted(resources: Resources) -> dict:
    return {key: one for group in resources.groups() for key, one in group.items()}


def built(*sockets: Any) -> Resources:
    return build(state(*sockets), {}, SETTINGS, CERTIFICATE)


def settle(stream: Subscriptions) -> list[Any]:
    sent = []
    while (response := stream.next_response(1)) is not None:
        assert stream.next_response(1) is None  # one at a time
        sent.append(response)
        acknowledge(stream, response)
    return sent


def test_first_questions_are_answered_even_with_nothing() -> None:
    stream = Subscriptions({})
    stream.take(request(CLUSTER))
    (answer,) = settle(stream)
    assert not answer.resources
    assert not stream.settled
    stream.take(request(LISTENER))
    settle(stream)
    assert stream.settled


def test_a_reconnecting_envoy_gets_only_what_differs() -> None:
    have = wanted(built(*SOCKETS))
    versions = {name: one.version for (kind, name), one in have.items() if kind == CLUSTER}
    stream = Subscriptions(have)
    old = versions | {"gone.edge.localhost": "1", "app.edge.localhost": "stale"}
    stream.take(request(CLUSTER, initial_resource_versions=old))
    (answer,) = settle(stream)
    assert [one.name for one in answer.resources] == ["app.edge.localhost"]
    assert list(answer.removed_resources) == ["gone.edge.localhost"]


def test_clusters_come_before_listeners_and_go_after_them() -> None:
    before, extra = built(*SOCKETS), socket("new", SOCKETS[-1].socket_type, identity_required=False)
    after = built(*SOCKETS[:-1], replace(extra, ports=(20010,)))
    have = wanted(before)
    stream = Subscriptions(have)
    stream.take(request(CLUSTER))
    stream.take(request(LISTENER))
    settle(stream)
    changes = diff(before, after)
    have |= changes.upserted
    for key in changes.removed:
        del have[key]
    stream.change(changes)
    first, second, third = settle(stream)
    assert ([one.name for one in first.resources], list(first.removed_resources)) == (
        ["stream:id-new"],
        [],
    )
    assert [one.name for one in second.resources] == ["stream:id-new:20010"]
    assert list(second.removed_resources) == ["stream:id-raw:20004"]
    assert list(third.removed_resources) == ["stream:id-raw"]


def test_a_refusal_is_remembered_and_offered_again() -> None:
    stream = Subscriptions(wanted(built(*SOCKETS)))
    stream.take(request(CLUSTER))
    answer = stream.next_response(1)
    refused = acknowledge(stream, answer, "no such thing")
    assert stream.refusals == {"no such thing"}
    assert stream.next_response(1) is None
    stream.offer_again(refused)
    again = stream.next_response(1)
    assert {one.name for one in again.resources} == refused.names
    acknowledge(stream, again)
    assert not stream.refusals


def test_an_unknown_secret_is_answered_at_once() -> None:
    stream = Subscriptions({})
    stream.take(request(SECRET, resource_names_subscribe=["nobody"]))
    (answer,) = settle(stream)
    assert list(answer.removed_resources) == ["nobody"]


def test_a_stale_nonce_acknowledges_nothing() -> None:
    stream = Subscriptions(wanted(built(*SOCKETS)))
    stream.take(request(CLUSTER))
    stream.next_response(1)
    stream.take(request(CLUSTER, response_nonce="other"))
    assert not stream.settled
    assert stream.next_response(1) is None

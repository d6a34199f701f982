"""Whose word counts on where a request comes from, and who is an edge."""

import pytest
from starlette.requests import Request

from idp_gateway.composition import Gateway
from idp_gateway.dependencies import is_edge, require_edge, source_address
from idp_gateway.errors import NotAuthenticated


def request(
    *headers: tuple[str, str], peer: tuple[str, int] | None = ("198.51.100.7", 4000)
) -> Request:
    return Request(
        {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "client": peer,
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        }
    )


def key(gateway: Gateway) -> str:
    return gateway.edge_key.decode()


def test_without_the_edge_key_a_forwarded_address_is_worth_nothing(gateway: Gateway) -> None:
    for headers in (
        [("x-forwarded-for", "192.0.2.1")],
        [("x-forwarded-for", "192.0.2.1"), ("x-mysocket-edge-key", "wrong")],
        [("x-forwarded-for", "192.0.2.1"), ("x-mysocket-edge-key", "")],
        [("x-forwarded-for", "192.0.2.1"), ("x-mysocket-edge-key", "\xff" * 43)],
        [("x-mysocket-edge-key", key(gateway)), ("x-mysocket-edge-key", "x")],
    ):
        asked = request(*headers)
        assert str(source_address(asked, gateway)) == "198.51.100.7"
        assert not is_edge(asked, gateway)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_edge_says_the_clients_address(gateway: Gateway, said: str, meant: str) -> None:
    asked = request(("x-forwarded-for", said), ("x-mysocket-edge-key", key(gateway)))
    assert str(source_address(asked, gateway)) == meant


@pytest.mark.parametrize("said", [[], [""], ["x"], ["192.0.2.1, 192.0.2.2"], ["192.0.2.1"] * 2])
def test_an_edge_that_says_it_unclearly_gets_no_decision(gateway: Gateway, said: list[str]) -> None:
    asked = request(
        *[("x-forwarded-for", one) for one in said], ("x-mysocket-edge-key", key(gateway))
    )
    with pytest.raises(NotAuthenticated) as caught:
        source_address(asked, gateway)
    assert caught.value.reason == "source-unknown"


@pytest.mark.parametrize("peer", [None, ("", 0)])
def test_the_peer_of_a_unix_socket_is_this_machine(
    gateway: Gateway, peer: tuple[str, int] | None
) -> None:
    assert str(source_address(request(peer=peer), gateway)) == "127.0.0.1"


def test_only_the_edge_key_opens_internal_calls(gateway: Gateway) -> None:
    require_edge(request(("authorization", f"Bearer {key(gateway)}")), gateway)
    good = ("authorization", f"Bearer {key(gateway)}")
    for headers in (
        [],
        [("authorization", "Bearer x")],
        [("authorization", f"Basic {key(gateway)}")],
        [("authorization", key(gateway))],
        [good, good],
        [("x-mysocket-edge-key", key(gateway))],
    ):
        with pytest.raises(NotAuthenticated) as caught:
            require_edge(request(*headers), gateway)
        assert caught.value.reason == "edge-key-invalid"

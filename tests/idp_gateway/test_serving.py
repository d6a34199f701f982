"""A change is in force when no edge serves older address rules of a socket it is about."""

import pytest

from idp_gateway.composition import Gateway
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.serving import Serving
from policy.types import SocketType
from tests.idp_gateway.conftest import FixedClock
from tests.support import rows
from tests.support.rows import owner_with_socket

Owned = tuple[AccountRecord, SocketRecord]


@pytest.fixture
def both(gateway: Gateway) -> tuple[Owned, Owned]:
    fields = {"socket_type": SocketType.TLS, "cloud_authentication_enabled": True}
    return owner_with_socket(gateway.store, **fields), owner_with_socket(gateway.store, **fields)


def acknowledge(gateway: Gateway, *late: SocketRecord, edge: str = "e1") -> None:
    ids = tuple(one.socket_id for one in late)
    gateway.feed.serving.acknowledge(edge, gateway.store.revision(), ids)


async def of(gateway: Gateway, owned: Owned) -> bool:
    return await gateway.feed.serving.settled(0, account_id=owned[0].account_id)


async def test_late_rules_are_their_accounts_alone(
    gateway: Gateway, both: tuple[Owned, Owned]
) -> None:
    one, other = both
    acknowledge(gateway, one[1])
    assert not await of(gateway, one)
    assert await of(gateway, other)
    acknowledge(gateway)
    assert await of(gateway, one)


async def test_what_changed_at_anothers_socket_counts_and_nothing_else(
    gateway: Gateway, both: tuple[Owned, Owned]
) -> None:
    """An approval touches the owner's socket, whoever approves."""
    one, other = both
    before = gateway.store.revision()
    gateway.store.note_sockets([other[1].socket_id], rows.NOW)
    acknowledge(gateway, one[1])
    assert await gateway.feed.serving.settled(0, after=before)
    acknowledge(gateway, other[1])
    assert not await gateway.feed.serving.settled(0, after=before)
    assert await gateway.feed.serving.settled(0, after=gateway.store.revision())


async def test_too_many_to_be_named_are_everybodys(
    gateway: Gateway, both: tuple[Owned, Owned]
) -> None:
    gateway.feed.serving.acknowledge("e1", gateway.store.revision(), None)
    assert not await of(gateway, both[1])


async def test_an_edge_that_was_cut_off_stays_late_until_it_is_taken_for_removed(
    gateway: Gateway, clock: FixedClock, both: tuple[Owned, Owned]
) -> None:
    acknowledge(gateway, both[0][1], edge="far")
    for step in ({"minutes": 11}, {"hours": 23}):
        clock.advance(**step)
        acknowledge(gateway, edge="near")
        assert not await of(gateway, both[0])
    clock.advance(hours=1)
    acknowledge(gateway, edge="near")
    assert await of(gateway, both[0])


async def test_another_gateway_knows_it_at_once(
    gateway: Gateway, both: tuple[Owned, Owned]
) -> None:
    other = Serving(gateway.store, gateway.clock)
    acknowledge(gateway, both[0][1])
    assert not await other.settled(0, account_id=both[0][0].account_id)
    acknowledge(gateway)
    assert await other.settled(0, account_id=both[0][0].account_id)


async def test_a_revision_that_was_never_given_out_is_none(
    gateway: Gateway, both: tuple[Owned, Owned]
) -> None:
    """The edge has it of a database that was restored from a backup since."""
    gateway.feed.serving.acknowledge("e1", gateway.store.revision() + 100, ())
    gateway.store.note_sockets([both[0][1].socket_id], rows.NOW)
    assert not await of(gateway, both[0])
    acknowledge(gateway)
    assert await of(gateway, both[0])

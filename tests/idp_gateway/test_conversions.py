"""Rows as values of the policy."""

import pytest

from idp_gateway.conversions import decided_socket, own_lists
from policy.addresses import DomainName, EmailAddress
from policy.errors import AddressError
from policy.types import SocketType
from tests.support import rows


def test_a_sockets_lists_are_its_one_policy() -> None:
    record = rows.socket(
        rows.account(),
        socket_type=SocketType.TLS,
        port=20001,
        epoch=4,
        cloud_authentication_enabled=True,
        emails=("ann@corp.test",),
        domains=("corp.test",),
    )
    socket = decided_socket(record)
    assert (socket.socket_id, socket.dns_name) == (record.socket_id, record.dns_name)
    assert (socket.ports, socket.epoch, socket.identity_required) == ((20001,), 4, True)
    (policy,) = own_lists(record)
    assert policy.policy_id == record.socket_id
    assert policy.who.emails == {EmailAddress.parse("ann@corp.test")}
    assert policy.who.domains == {DomainName.parse("corp.test")}


def test_empty_lists_are_no_policy() -> None:
    assert own_lists(rows.socket(rows.account())) == ()


def test_a_list_that_cannot_be_read_is_not_skipped_over() -> None:
    with pytest.raises(AddressError):
        own_lists(rows.socket(rows.account(), emails=("a@evil@corp.test",)))

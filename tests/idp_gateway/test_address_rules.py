"""What edges are told of addresses, and how long that is remembered."""

import gc

from idp_gateway.address_rules import RememberedRules
from idp_gateway.composition import Gateway
from idp_gateway.ready_rules import ReadyRules
from policy.types import SocketType
from tests.support import rows


def test_rules_are_made_once_and_go_with_the_policies(gateway: Gateway) -> None:
    """What is kept ready of policies is bounded; their rules must not keep them in memory."""
    owner = rows.account()
    gateway.store.add_account(owner)
    made = {"socket_type": SocketType.TLS, "cloud_authentication_enabled": True, "port": 20_001}
    socket = rows.socket(owner, socket_id="s-1", dns_name="one.edge.test", **made)
    gateway.store.add_socket(socket, ports=range(20_000, 20_010))
    remembered = RememberedRules(gateway.rules)
    assert remembered([socket])["s-1"] is remembered([socket])["s-1"]
    gateway.rules._ready = ReadyRules()
    gc.collect()
    assert not remembered._known

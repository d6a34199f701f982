"""The database behind the gateway: every method is one short transaction and safe in any thread."""

from idp_gateway.store.access_events import AccessEventStore
from idp_gateway.store.access_requests import AccessRequestStore
from idp_gateway.store.accounts import AccountStore
from idp_gateway.store.approval_rules import ApprovalRulesStore
from idp_gateway.store.blocked import BlockedStore
from idp_gateway.store.database import Database
from idp_gateway.store.edges import EdgeStore
from idp_gateway.store.ends import EndsStore
from idp_gateway.store.generations import GenerationStore
from idp_gateway.store.guests import GuestStore
from idp_gateway.store.hosts import HostStore
from idp_gateway.store.issuance import IssuanceStore
from idp_gateway.store.list_position import ListPositionStore
from idp_gateway.store.log import LogStore
from idp_gateway.store.logins import LoginStore
from idp_gateway.store.policies import PolicyStore
from idp_gateway.store.prefix_lists import PrefixListStore
from idp_gateway.store.replays import ReplayStore
from idp_gateway.store.revocations import RevocationStore
from idp_gateway.store.root_lists import RootListStore
from idp_gateway.store.rules import RulesStore
from idp_gateway.store.sockets import SocketStore

__all__ = ["Database", "Store"]


class Store(
    AccountStore,
    LoginStore,
    SocketStore,
    IssuanceStore,
    LogStore,
    EdgeStore,
    GenerationStore,
    RootListStore,
    RevocationStore,
    BlockedStore,
    ListPositionStore,
    HostStore,
    PolicyStore,
    PrefixListStore,
    RulesStore,
    ApprovalRulesStore,
    AccessRequestStore,
    GuestStore,
    AccessEventStore,
    EndsStore,
    ReplayStore,
):
    """All of the gateway's tables. ``find_*`` answers ``None``, ``get_*`` raises ``NotFound``."""

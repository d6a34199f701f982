"""The one place that says which policies bear on a socket.

They are its own lists, the policies attached to it, those of its whole account, and what lets
somebody in for a while (an approval, a guest's link). Whatever changes one of them counts up a
number in the socket's row in the same transaction, and every decision begins with that row: what is
remembered here is used only as long as the numbers are the same, in every gateway process.

What cannot be read (a later version wrote it, or it is damaged) closes the sockets it bears on and
no others: it may have been what keeps somebody out.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TypeVar
from weakref import WeakValueDictionary

from idp_gateway.clock import Clock, system_clock
from idp_gateway.conversions import decided_socket, own_lists
from idp_gateway.flights import Flights
from idp_gateway.policy_documents import networks_in, policy_in
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.ready_rules import ReadyRules, key_of
from idp_gateway.records import SocketRecord
from idp_gateway.store import Store
from idp_gateway.store.database import DatabaseFailure
from idp_gateway.store.rules import OWN_PORT, AccountRules
from policy.address_sets import EVERYWHERE
from policy.addresses import EmailAddress
from policy.errors import AddressError, PolicyError
from policy.networks import Networks
from policy.policy_set import PolicySet, places
from policy.types import DenyRule, IPNetwork, Policy, Socket, Where

log = logging.getLogger(__name__)

TemporaryPolicies = Callable[[Sequence[SocketRecord]], Mapping[str, Sequence[Policy]]]
"""Policies that let somebody in for a while, by socket id. Each says itself when it ends; who adds
or takes one away touches the socket (``store.rules.touch``) in the same transaction."""


def nothing_temporary(_sockets: Sequence[SocketRecord]) -> Mapping[str, Sequence[Policy]]:
    """Nobody was let in for a while."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedSocket:
    """A socket together with all the policies that bear on it."""

    socket: Socket
    """Without those who are blocked: of whoever is decided on, ``facing`` looks it up."""
    policies: PolicySet
    blocks: Callable[[EmailAddress], bool]

    def facing(self, email: EmailAddress | None) -> Socket:
        """The socket as whoever has this address finds it: with them, if they are blocked."""
        if email is None or not self.blocks(email):
            return self.socket
        return replace(self.socket, blocked=frozenset((email,)))


class Rules:
    """Builds the policy sets of sockets, and keeps those it has built; safe in any thread."""

    def __init__(
        self,
        store: Store,
        temporary: TemporaryPolicies = nothing_temporary,
        clock: Clock = system_clock,
    ) -> None:
        self._store = store
        self._temporary = temporary
        self._clock = clock
        self._ready = ReadyRules()
        self._asked: Flights[PolicySet] = Flights()
        self._made: Flights[PolicySet] = Flights()
        self._lock = threading.Lock()
        self._shared: WeakValueDictionary[Hashable, PolicySet] = WeakValueDictionary()

    def guarded(self, socket: SocketRecord) -> GuardedSocket:
        """A socket as it is decided on; ``socket`` has just been read."""
        found = self.ready(socket)
        if found is None:
            # Whoever comes while it is made waits, and does not make it as well.
            asked = socket.socket_id, key_of(socket)
            found = self._asked.once(asked, lambda: self._find_all([socket])[socket.socket_id])
        return self._door(socket, found)

    def is_ready(self, socket: SocketRecord) -> bool:
        """Whether ``guarded`` takes microseconds now, and waits for nothing."""
        return self.ready(socket) is not None

    def ready(self, socket: SocketRecord) -> PolicySet | None:
        """The policies of a socket that has just been read, if they are made."""
        return self._ready.find(socket, self._clock())

    def guarded_all(self, sockets: Sequence[SocketRecord]) -> list[GuardedSocket]:
        """As ``guarded``, for many sockets in a few queries."""
        return self._doors(sockets, self._find_all(sockets))

    def blocked_on(self, sockets: Sequence[SocketRecord]) -> Mapping[str, frozenset[EmailAddress]]:
        """Everybody who is blocked, by socket id; an address that is none blocks nobody."""
        found = self._store.people_blocked(socket.socket_id for socket in sockets)
        known = {text: _address(text) for texts in found.values() for text in texts}
        return {
            socket.socket_id: frozenset(
                address
                for text in found.get(socket.socket_id, ())
                if (address := known[text]) is not None
            )
            for socket in sockets
        }

    def _find_all(self, sockets: Sequence[SocketRecord]) -> dict[str, PolicySet]:
        found = {socket.socket_id: self.ready(socket) for socket in sockets}
        missing = [socket for socket in sockets if found[socket.socket_id] is None]
        made = self._make(missing) if missing else {}
        return made | {socket_id: one for socket_id, one in found.items() if one is not None}

    def guarded_under(
        self, sockets: Sequence[SocketRecord], rules: AccountRules
    ) -> list[GuardedSocket]:
        """As ``guarded_all``, if other rules held on these sockets of one account; what lets
        somebody in for a while stays. None of it is remembered.
        """

        def build(some: Sequence[SocketRecord]) -> dict[str, PolicySet]:
            return self._sets(some, dict.fromkeys((one.account_id for one in some), rules))

        made = apart(build, sockets, _closed_set)
        return self._doors(sockets, made)

    def _doors(
        self, sockets: Sequence[SocketRecord], found: Mapping[str, PolicySet]
    ) -> list[GuardedSocket]:
        ids = [socket.socket_id for socket in sockets]

        @cache
        def blocking(email: EmailAddress) -> frozenset[str]:
            """Where somebody is blocked: who looks at all of the sockets asks once."""
            return self._store.sockets_blocking(str(email), ids)

        def blocks(socket_id: str, email: EmailAddress) -> bool:
            return socket_id in blocking(email)

        return [
            GuardedSocket(
                socket=decided_socket(socket),
                policies=found[socket.socket_id],
                blocks=partial(blocks, socket.socket_id),
            )
            for socket in sockets
        ]

    def _door(self, socket: SocketRecord, policies: PolicySet) -> GuardedSocket:
        return GuardedSocket(
            socket=decided_socket(socket),
            policies=policies,
            blocks=lambda email: self._store.blocks_person(socket.socket_id, str(email)),
        )

    def _make(self, sockets: Sequence[SocketRecord]) -> dict[str, PolicySet]:
        closed = set()

        def close(socket: SocketRecord) -> PolicySet:
            closed.add(socket.socket_id)
            return _closed_set(socket)

        now = self._clock()
        made = apart(self._build, sockets, close)
        # What went wrong may have been the moment's: the next decision tries again.
        for socket in (one for one in sockets if one.socket_id not in closed):
            self._ready.keep(socket, made[socket.socket_id], made_at=now)
        return made

    def _build(self, sockets: Sequence[SocketRecord]) -> dict[str, PolicySet]:
        return self._sets(sockets, self._store.rules_of(sockets))

    def _sets(
        self, sockets: Sequence[SocketRecord], by_account: Mapping[str, AccountRules]
    ) -> dict[str, PolicySet]:
        temporary = self._temporary(sockets)
        made = {}
        for socket in sockets:
            rules = by_account[socket.account_id]
            let_in = temporary.get(socket.socket_id, ())
            made[socket.socket_id] = self._set_of(socket, rules, let_in)
        return made

    def _set_of(
        self, socket: SocketRecord, rules: AccountRules, temporary: Sequence[Policy]
    ) -> PolicySet:
        """What bears on a socket; without what lets somebody in for a while, from anywhere, where
        edges could not be told of it and would close the socket for everybody.
        """
        made = self._one_set(effective(socket, rules, temporary), rules)
        if not temporary or made.told is not None or socket.socket_type not in OWN_PORT:
            return made
        without = self._one_set(effective(socket, rules), rules)
        if without.told is None:
            return made
        left_out = "approvals and guests of socket %s are left out: too large for edges"
        log.warning(left_out, socket.socket_id)
        return without

    def _one_set(self, policies: Sequence[Policy], rules: AccountRules) -> PolicySet:
        """The one set of these policies, for every socket on which the same bear."""
        lists = _lists_named(policies, rules)
        # By identity: comparing thousands of policies would cost more than is saved. A set keeps
        # its policies and lists alive, so that none of these numbers means another while it lives.
        shared = (
            frozenset(map(id, policies)),
            frozenset((name, id(networks)) for name, networks in lists.items()),
        )

        def make() -> PolicySet:
            with self._lock:
                found = self._shared.get(shared)
            if found is not None:
                return found
            made = PolicySet.build(policies, lists)
            with self._lock:
                self._shared[shared] = made
            return made

        return self._made.once(shared, make)


Found = TypeVar("Found")


def apart(
    read: Callable[[Sequence[SocketRecord]], Mapping[str, Found]],
    sockets: Sequence[SocketRecord],
    instead: Callable[[SocketRecord], Found],
) -> dict[str, Found]:
    """What ``read`` finds of sockets, by id. One of which it cannot be found has ``instead``, and
    that is logged; the others, of other accounts, must not suffer from it.

    Raises:
        DatabaseFailure: the database cannot be asked, which says nothing of any socket.
    """
    try:
        return dict(read(sockets))
    except DatabaseFailure:
        raise
    except Exception:
        if len(sockets) > 1:
            halves = (sockets[: len(sockets) // 2], sockets[len(sockets) // 2 :])
            return apart(read, halves[0], instead) | apart(read, halves[1], instead)
        log.exception("socket %s cannot be read and is closed", sockets[0].socket_id)
        return {sockets[0].socket_id: instead(sockets[0])}


def effective(
    socket: SocketRecord, rules: AccountRules, temporary: Sequence[Policy] = ()
) -> tuple[Policy, ...]:
    """Every policy that bears on a socket; one that cannot be read keeps everybody out."""
    named = (_readable(record) for record in rules.of_socket(socket.socket_id))
    return (*own_lists(socket), *named, *temporary)


def _address(text: str) -> EmailAddress | None:
    try:
        return EmailAddress.parse(text)
    except AddressError:
        return None


def _readable(record: PolicyRecord) -> Policy:
    try:
        return policy_in(record)
    except (PolicyError, ValueError, TypeError, LookupError):
        log.exception("policy %s cannot be read and closes its sockets", record.policy_id)
        return _closing(record.policy_id, record.name)


_EVERYWHERE = Where(prefixes=Networks.of(EVERYWHERE.networks()))


def _closing(policy_id: str, name: str) -> Policy:
    """In the place of something that cannot be read. It says addresses, so that edges hold it."""
    deny = DenyRule(name="this policy cannot be read", where=_EVERYWHERE)
    return Policy(policy_id=policy_id, name=name, denies=(deny,))


class ClosedForNow(PolicySet):
    """In the place of a set that could not be made; the next time it may be."""


def _closed_set(socket: SocketRecord) -> PolicySet:
    return ClosedForNow.build([_closing(socket.socket_id, socket.name)])


def policy_set(policies: Sequence[Policy], rules: AccountRules) -> PolicySet:
    """Policies with the account's lists they name."""
    return PolicySet.build(policies, _lists_named(policies, rules))


def _lists_named(
    policies: Iterable[Policy], rules: AccountRules
) -> dict[str, tuple[IPNetwork, ...]]:
    names = {name for policy in policies for where in places(policy) for name in where.prefix_lists}
    found = rules.prefix_lists
    return {name: networks_in(found[name]) for name in names if name in found}

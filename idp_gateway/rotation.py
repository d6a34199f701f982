"""Replaces the key of a CA without a login failing on the way; may be stopped at every step.

    prepare → publish → activate → retire

A new key is *prepared*; then *published*, which tells every verifier to trust it; *activated*, so
that it signs, once those verifiers have said that they trust it, while the key before it *drains*:
it signs nothing any more, and is trusted until the last certificate it signed has ended; then it
is *retired*: no longer trusted, and destroyed. ``rollback`` undoes what is not yet retired.

Where a rotation stands is in the database alone, and each step is one compare-and-set there: a
rotation that was cut short is taken up by whoever comes next, and two who try at once do not both
succeed. ``docs/rotation.md`` is the operator's view.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ca.specs import MAX_SERVER_LIFE
from idp_gateway.ca_generations import SSH_HOST, SSH_TUNNEL, X509_ISSUING, Generations
from idp_gateway.clock import Clock
from idp_gateway.errors import Conflict, NotFound
from idp_gateway.records import CaGenerationRecord, CaState
from idp_gateway.root_list import RootList
from idp_gateway.serving import EDGE_GONE
from idp_gateway.store import Store
from idp_gateway.store.generations import USER_CA, Move

log = logging.getLogger(__name__)

IN_FLIGHT = timedelta(seconds=15)
"""A certificate that was being signed when its key stopped signing is on record by then."""


class Step(StrEnum):
    """What a rotation does next."""

    PREPARE = "prepare"
    PUBLISH = "publish"
    ACTIVATE = "activate"
    RETIRE = "retire"


class Verifier(StrEnum):
    """Who has to know of a key before it may sign."""

    EDGE = "edge"
    HOST = "host"
    BY_HAND = "by hand"
    """Somebody this gateway never hears from: an sshd or a client somebody set up by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A verifier that has not said it trusts the new key, or that still needs the old one."""

    kind: Verifier
    name: str
    seen_at: datetime | None = None
    """When it was last heard of."""

    def __str__(self) -> str:
        if self.kind is Verifier.BY_HAND:
            return self.name
        seen = "never heard of" if self.seen_at is None else f"last seen {self.seen_at:%F %T} UTC"
        return f"{self.kind} {self.name} ({seen})"


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """Verifiers an operator goes on without."""

    hosts: frozenset[str] = frozenset()
    """By name or id."""
    edges: frozenset[str] = frozenset()
    by_hand: bool = False
    """Whether those set up by hand have the new key, in the operator's word."""
    compromised: bool = False
    """Whether the old key may be in other hands: then nothing it signed counts any longer than it
    must, standing tunnels included."""
    new_root: bool = False
    """Whether the root was replaced on purpose: the new issuing CA is below another than before."""


NOBODY = GivenUp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the rotation of one CA stands."""

    ca_id: str
    generations: tuple[CaGenerationRecord, ...]
    step: Step
    """What comes next; ``prepare`` if nothing is under way."""
    awaited: tuple[Awaited, ...] = ()
    """Who keeps it from being done."""
    until: datetime | None = None
    """The moment that keeps it from being done."""

    @property
    def under_way(self) -> bool:
        return self.step is not Step.PREPARE

    @property
    def ready(self) -> bool:
        """Whether the next step can be taken now."""
        return not self.awaited and self.until is None

    @property
    def why(self) -> str:
        """What it waits for, in words; empty if it is ready."""
        if self.until is not None:
            return f"certificates of the old key may be good until {self.until:%F %T} UTC"
        if self.awaited:
            return "waiting for " + ", ".join(map(str, self.awaited))
        return ""


class Rotation:
    """Moves the generations of CAs; everything it needs to know is in the database."""

    def __init__(
        self,
        *,
        store: Store,
        generations: Generations,
        root_list: RootList,
        clock: Clock,
        life: timedelta,
        drift: timedelta,
    ) -> None:
        """``life`` and ``drift``: how far ahead grants are good, and how wrong clocks may be."""
        self._store = store
        self._generations = generations
        self._root_list = root_list
        self._clock = clock
        self._life = life
        self._drift = drift

    def standing(self, ca_id: str, given_up: GivenUp = NOBODY) -> Standing:
        """Where a CA's rotation stands, and what it waits for.

        Raises:
            NotFound: there is no such CA.
        """
        known = self._store.generations(ca_id)
        if not known:
            raise NotFound(f"there is no CA {ca_id}", reason="ca-unknown")
        by_state = {record.state: record for record in known}
        step = next((step for state, step in _NEXT.items() if state in by_state), Step.PREPARE)
        awaited: Sequence[Awaited] = ()
        until = None
        if step is Step.ACTIVATE:
            awaited = self._unaware(by_state[CaState.PUBLISHED], given_up)
        elif step is Step.RETIRE:
            awaited, until = self._in_use(by_state[CaState.DRAINING], given_up)
        return Standing(
            ca_id=ca_id, generations=known, step=step, awaited=tuple(awaited), until=until
        )

    def take(self, ca_id: str, step: Step, given_up: GivenUp = NOBODY) -> Standing:
        """Take one step, if it is the next and nothing keeps it; where the rotation then stands.

        Raises:
            Conflict: another step is next (``rotation-step``), it is too early
                (``rotation-waits``), or somebody else takes it (``rotation-under-way``).
            NotFound: there is no such CA.
            ca.errors.CaError: a key cannot be made, or is not fit to sign.
        """
        standing = self.standing(ca_id, given_up)
        if standing.step is not step:
            raise Conflict(
                f"the next step of {ca_id} is to {standing.step}, not to {step}",
                reason="rotation-step",
            )
        if not standing.ready:
            raise Conflict(f"too early to {step} {ca_id}: {standing.why}", reason="rotation-waits")
        by_state = {record.state: record for record in standing.generations}
        if step is Step.PREPARE:
            self._generations.next(ca_id, new_root=given_up.new_root)
        elif step is Step.PUBLISH:
            self._move(ca_id, by_state[CaState.PREPARED], CaState.PUBLISHED)
        elif step is Step.ACTIVATE:
            self._activate(ca_id, by_state)
        elif given_up.compromised:
            self._end(ca_id, by_state[CaState.DRAINING], CaState.WITHDRAWN)
        else:
            self._end(ca_id, by_state[CaState.DRAINING], CaState.RETIRED)
        return self.standing(ca_id, given_up)

    def advance(self, ca_id: str, given_up: GivenUp = NOBODY) -> Standing:
        """Take every step of a rotation under way that can be taken now."""
        standing = self.standing(ca_id, given_up)
        while standing.under_way and standing.ready:
            standing = self.take(ca_id, standing.step, given_up)
        return standing

    def host_names(self, ca_id: str) -> frozenset[str]:
        """Names and ids of the servers that a rotation of this CA waits for, or could."""
        if ca_id == SSH_HOST:
            now = self._clock()
            hosts = [
                host
                for record in self._store.generations(ca_id)
                for host in self._store.hosts_certified_by(record.key_id, now)
            ]
        else:
            hosts = list(self._store.hosts_to_acknowledge(ca_id.removeprefix(USER_CA)))
        return frozenset(name for host in hosts for name in (host.name, host.host_id))

    def rollback(self, ca_id: str) -> Standing:
        """Undo the rotation under way: withdraw a key that never signed, or let the one before
        sign again, while what the newer one signed drains.

        Raises:
            Conflict: nothing is under way (``nothing-to-roll-back``), or somebody else moves it.
            NotFound: there is no such CA.
        """
        by_state = {record.state: record for record in self.standing(ca_id).generations}
        for state in (CaState.PREPARED, CaState.PUBLISHED):
            if state in by_state:
                self._end(ca_id, by_state[state], CaState.WITHDRAWN)
                return self.standing(ca_id)
        if CaState.DRAINING not in by_state:
            raise Conflict(
                f"no rotation of {ca_id} is under way; a retired key does not come back",
                reason="nothing-to-roll-back",
            )
        self._swap(ca_id, signs=by_state[CaState.DRAINING], drains=by_state[CaState.ACTIVE])
        return self.standing(ca_id)

    def replace_at_once(self, ca_id: str) -> Standing:
        """A new key that signs now, whoever knows of it; for a gateway that starts with names its
        issuing CA may not sign. What is under way ends, and the old key drains as ever.
        """
        for record in self.standing(ca_id).generations:
            if record.state in {CaState.PREPARED, CaState.PUBLISHED}:
                self._end(ca_id, record, CaState.WITHDRAWN)
            elif record.state is CaState.DRAINING:
                self._end(ca_id, record, CaState.RETIRED)
        edges = frozenset(edge.edge_id for edge in self._store.edges())
        self.take(ca_id, Step.PREPARE)
        self.take(ca_id, Step.PUBLISH)
        return self.take(ca_id, Step.ACTIVATE, GivenUp(edges=edges, by_hand=True))

    def _activate(self, ca_id: str, by_state: dict[CaState, CaGenerationRecord]) -> None:
        successor = by_state[CaState.PUBLISHED]
        self._check_fit(successor)
        self._swap(ca_id, signs=successor, drains=by_state[CaState.ACTIVE])

    def _swap(self, ca_id: str, *, signs: CaGenerationRecord, drains: CaGenerationRecord) -> None:
        now = self._clock()
        until = self._end_of_draining(drains, now)
        self._store.move_generations(
            ca_id,
            [
                Move(
                    generation=drains.generation,
                    was=drains.state,
                    becomes=CaState.DRAINING,
                    draining_until=until,
                ),
                Move(generation=signs.generation, was=signs.state, becomes=CaState.ACTIVE),
            ],
            now,
        )
        self._generations.forget()

    def _move(self, ca_id: str, record: CaGenerationRecord, becomes: CaState) -> None:
        move = Move(generation=record.generation, was=record.state, becomes=becomes)
        self._store.move_generations(ca_id, [move], self._clock())

    def _end(self, ca_id: str, record: CaGenerationRecord, becomes: CaState) -> None:
        self._move(ca_id, record, becomes)
        self._generations.end_keys([record])
        if ca_id != X509_ISSUING or becomes is not CaState.WITHDRAWN:
            return
        is_whole = self._root_list.follow()
        if not self._root_list.may_name(record):
            log.warning(
                "issuing CA %s is below a root that was replaced: no list names it, that root is to"
                " be distrusted",
                record.key_id,
            )
        elif not is_whole:
            log.warning(
                "the root's list lacks issuing CA %s: run `ca root-list` where root.key is",
                record.key_id,
            )

    def _check_fit(self, record: CaGenerationRecord) -> None:
        """The key is there and signs, and its certificate outlives everything it may sign."""
        self._generations.check_signs(record)
        if record.ca_id != X509_ISSUING:
            return
        end = self._generations.issuer(record).not_after
        if end < self._clock() + MAX_SERVER_LIFE:
            raise Conflict(
                f"the new issuing CA ends on {end:%F}, before what it would sign; roll back",
                reason="ca-ends-too-soon",
            )

    def _end_of_draining(self, record: CaGenerationRecord, now: datetime) -> datetime:
        ends = [now + IN_FLIGHT + self._life]
        last = self._store.last_end_under(record.key_id)
        if last is not None:
            ends.append(last)
        # A verifier whose clock is slow takes a certificate for longer.
        return max(ends) + self._drift

    def _unaware(self, record: CaGenerationRecord, given_up: GivenUp) -> list[Awaited]:
        """Who has not said that it trusts a published key."""
        if record.ca_id in {X509_ISSUING, SSH_TUNNEL}:
            return self._edges_behind(record.published_revision or 0, given_up.edges)
        if record.ca_id == SSH_HOST:
            what = "clients' known_hosts lines: nobody reports them (--by-hand)"
            return [] if given_up.by_hand else [Awaited(kind=Verifier.BY_HAND, name=what)]
        hosts = self._store.hosts_to_acknowledge(record.ca_id.removeprefix(USER_CA))
        if not hosts and not given_up.by_hand:
            what = "no host is enrolled for this socket: an sshd set up by hand needs the new line"
            return [Awaited(kind=Verifier.BY_HAND, name=f"{what} (--by-hand)")]
        return [
            Awaited(kind=Verifier.HOST, name=host.name, seen_at=host.seen_at)
            for host in hosts
            if record.key_id not in host.trusted_cas
            and not given_up.hosts & {host.name, host.host_id}
        ]

    def _edges_behind(self, revision: int, given_up: Collection[str]) -> list[Awaited]:
        gone = self._clock() - EDGE_GONE
        return [
            Awaited(kind=Verifier.EDGE, name=edge.edge_id, seen_at=edge.seen_at)
            for edge in self._store.edges()
            if edge.acked_revision < revision
            and edge.seen_at > gone
            and edge.edge_id not in given_up
        ]

    def _edges_showing(
        self, record: CaGenerationRecord, given_up: Collection[str]
    ) -> list[Awaited]:
        """Edges whose own certificate is still of an issuing CA: they renew as soon as they hear
        that another one signs. Of older ones that do not say nothing is known.
        """
        gone = self._clock() - EDGE_GONE
        return [
            Awaited(kind=Verifier.EDGE, name=edge.edge_id, seen_at=edge.seen_at)
            for edge in self._store.edges()
            if edge.server_ca == record.key_id
            and edge.seen_at > gone
            and edge.edge_id not in given_up
        ]

    def _in_use(
        self, record: CaGenerationRecord, given_up: GivenUp
    ) -> tuple[list[Awaited], datetime | None]:
        """What keeps a draining key from being retired."""
        now = self._clock()
        until = record.draining_until
        if given_up.compromised:
            return [], None
        if until is None or now >= until:
            return self._edges_showing(record, given_up.edges), None
        if record.ca_id != SSH_HOST:
            return [], until
        # Host certificates live for weeks, but hosts renew as soon as their CA's key drains.
        hosts = [
            Awaited(kind=Verifier.HOST, name=host.name, seen_at=host.seen_at)
            for host in self._store.hosts_certified_by(record.key_id, now)
            if not given_up.hosts & {host.name, host.host_id}
        ]
        return hosts, None


_NEXT = {
    CaState.PREPARED: Step.PUBLISH,
    CaState.PUBLISHED: Step.ACTIVATE,
    CaState.DRAINING: Step.RETIRE,
}

"""Public lists as they were last made, so that asking once more is one look at where things stand.

Anybody may ask for them, without an account, and to make one may take seconds. A kept list is given
out only while the database says that nothing came which could bear on it, whichever gateway wrote
it: what was revoked is on the list that is asked for next.
"""

from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock

from ca.formats.host_messages import CLOCK_TOLERANCE_SECONDS
from idp_gateway.clock import Clock
from idp_gateway.records import CertificateKind
from idp_gateway.store import Store
from idp_gateway.store.list_position import Listed, Position

SLOWEST_CLOCK = timedelta(seconds=CLOCK_TOLERANCE_SECONDS)
"""A verifier whose clock is this slow still takes what has expired, so lists go on naming it; hosts
whose clock is further off get no bundle."""
FEW = 1_000
"""A list that names more is kept for ``LONG_LISTS_KEPT_FOR`` although something on it has expired:
of thousands something does all the time."""
LONG_LISTS_KEPT_FOR = timedelta(minutes=1)
LONGEST_KEPT = timedelta(hours=1)
MAX_BYTES = 128 << 20
"""Of all lists that are kept; the longest unused goes first."""

_OVERHEAD = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuestion:
    """Which list: what tells one from another, and what bears on it."""

    kinds: tuple[CertificateKind, ...]
    socket_id: str | None = None
    ca_key_id: str | None = None


class Named:
    """Which certificates a list names, in eight bytes each: serial numbers are random, so of these
    no two are alike.
    """

    def __init__(self, serials: Iterable[str] = ()) -> None:
        self._hashes = array("q", sorted(map(hash, serials)))

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, serial: object) -> bool:
        place = bisect_left(self._hashes, hash(serial))
        return place < len(self) and self._hashes[place] == hash(serial)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeList:
    """A list, and until when it is right if nothing happens."""

    content: bytes
    until: datetime
    named: Named = field(default_factory=Named)
    """Nothing, if it names no single certificates but all of a CA."""


def right_until(now: datetime, ends: Collection[datetime]) -> datetime:
    """When a list made now has to be made anew, of which entries go at these times."""
    first = min(ends, default=now + LONGEST_KEPT)
    if len(ends) > FEW:
        first = max(first, now + LONG_LISTS_KEPT_FOR)
    return min(first, now + LONGEST_KEPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptList:
    """A list, and how far everything had come when it was last known to be right."""

    made: MadeList
    made_at: datetime
    position: Position


class KeptLists:
    """Finished lists of one gateway, in a bounded room; safe in any thread."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._lock = Lock()
        self._kept: OrderedDict[ListQuestion, KeptList] = OrderedDict()
        self._bytes = 0

    def find(self, question: ListQuestion) -> KeptList | None:
        """The list, if it is kept and still right."""
        with self._lock:
            kept = self._kept.get(question)
        if kept is None or not kept.made_at <= self._clock() < kept.made.until:
            return None
        # Looked up before what came until then: whatever comes between is looked at again.
        position = self._store.position()
        if position == kept.position:
            return kept
        if not kept.position.reaches(position) or self._is_behind(question, kept):
            return None
        return self._keep(question, replace(kept, position=position))

    def get(self, question: ListQuestion, make: Callable[[], MadeList]) -> KeptList:
        """The list, made if it has to be; it raises what ``make`` raises. Nobody waits for another
        here: who may ask at the same time does by ``capacity.list_in_thread``.
        """
        kept = self.find(question)
        if kept is not None:
            return kept
        # First where things stand: whatever had come until then is on the list.
        position, now = self._store.position(), self._clock()
        return self._keep(question, KeptList(made=make(), made_at=now, position=position))

    def _is_behind(self, question: ListQuestion, kept: KeptList) -> bool:
        listed = Listed(
            kinds=question.kinds,
            named=kept.made.named,
            socket_id=question.socket_id,
            ca_key_id=question.ca_key_id,
        )
        return self._store.is_behind(kept.position, listed, self._clock() - SLOWEST_CLOCK)

    def _keep(self, question: ListQuestion, kept: KeptList) -> KeptList:
        with self._lock:
            self._bytes += _size(kept) - _size(self._kept.pop(question, None))
            self._kept[question] = kept
            while self._bytes > MAX_BYTES:
                self._bytes -= _size(self._kept.popitem(last=False)[1])
        return kept


def _size(kept: KeptList | None) -> int:
    return 0 if kept is None else len(kept.made.content) + 8 * len(kept.made.named) + _OVERHEAD

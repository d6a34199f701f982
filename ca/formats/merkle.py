"""The append-only tree of the transparency log: Merkle hashing of RFC 6962 §2.1.

A node is named ``(level, index)``: the root of the complete subtree over the ``2**level`` leaves
from ``index << level`` on. Everything else is computed from such nodes, which never change once
they are there. Proofs are lists of hashes as in RFC 6962 §2.1.1 and §2.1.2, verified as RFC 9162
§2.1.3.2 and §2.1.4.2 say. All functions are total: what does not verify is ``False``.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

HASH_BYTES = 32
MAX_SIZE = 2**62
"""No tree is larger; keeps a proof below ``MAX_PROOF_HASHES``."""
MAX_PROOF_HASHES = 128

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""

Node = tuple[int, int]
"""Level and index of a complete subtree."""
Lookup = Callable[[Node], bytes]
"""Gives the hash of a complete subtree."""


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of one leaf's content."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash over two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def peaks_of(size: int) -> tuple[Node, ...]:
    """The complete subtrees a tree of ``size`` leaves consists of, largest first."""
    peaks, start = [], 0
    for level in range(size.bit_length() - 1, -1, -1):
        if size >> level & 1:
            peaks.append((level, start >> level))
            start += 1 << level
    return tuple(peaks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """All a tree needs to grow: its size and its ``peaks_of``, hashed."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    @classmethod
    def read(cls, size: int, node: Lookup) -> Self:
        """The frontier of a tree whose nodes are kept elsewhere."""
        return cls(size=size, peaks=tuple(node(peak) for peak in peaks_of(size)))

    @property
    def root(self) -> bytes:
        """The root hash of the whole tree."""
        return _bag(self.peaks)

    def grow(self, leaves: Iterable[bytes]) -> tuple["Frontier", dict[Node, bytes]]:
        """The frontier after these leaf hashes, and every node that was completed, leaves too."""
        size, peaks = self.size, list(self.peaks)
        made: dict[Node, bytes] = {}
        for leaf in leaves:
            current, level = leaf, 0
            made[0, size] = current
            while size >> level & 1:
                current = node_hash(peaks.pop(), current)
                level += 1
                made[level, size >> level] = current
            peaks.append(current)
            size += 1
        return Frontier(size=size, peaks=tuple(peaks)), made

    def nodes(self) -> Mapping[Node, bytes]:
        """The peaks by name."""
        return dict(zip(peaks_of(self.size), self.peaks, strict=True))


def inclusion_path(index: int, size: int, node: Lookup) -> tuple[bytes, ...]:
    """The audit path of leaf ``index`` in a tree of ``size`` leaves, lowest first.

    Raises:
        ValueError: there is no such leaf.
    """
    if not 0 <= index < size <= MAX_SIZE:
        raise ValueError("no such leaf")
    path, level, last = [], 0, size - 1
    while last:
        sibling = index ^ 1
        if sibling < last:
            path.append(node((level, sibling)))
        elif sibling == last:
            path.append(_range_root(last << level, size, node))
        index, last, level = index >> 1, last >> 1, level + 1
    return tuple(path)


def consistency_path(old: int, new: int, node: Lookup) -> tuple[bytes, ...]:
    """Proof that the tree of ``old`` leaves is a prefix of that of ``new`` (RFC 6962 §2.1.2).

    Raises:
        ValueError: the sizes are not in order.
    """
    if not 0 <= old <= new <= MAX_SIZE:
        raise ValueError("the sizes are not in order")
    if old in {0, new}:
        return ()
    tail: list[bytes] = []
    low, high, whole = 0, new, True
    while old != high:
        middle = low + (1 << (high - low - 1).bit_length() - 1)
        if old <= middle:
            tail.append(_range_root(middle, high, node))
            high = middle
        else:
            tail.append(_range_root(low, middle, node))
            low, whole = middle, False
    if not whole:
        tail.append(_range_root(low, high, node))
    return tuple(reversed(tail))


def nodes_needed(walk: Callable[[Lookup], object]) -> tuple[Node, ...]:
    """Which nodes ``walk`` will ask for, so that they can be fetched at once."""
    asked: dict[Node, None] = {}

    def ask(node: Node) -> bytes:
        asked[node] = None
        return b""

    walk(ask)
    return tuple(asked)


def verify_inclusion(
    leaf: bytes, *, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether the leaf hash stands at ``index`` in the tree with this size and root."""
    if not 0 <= index < size <= MAX_SIZE or not _well_formed(path):
        return False
    current, last = leaf, size - 1
    for step in path:
        if last == 0:
            return False
        if index & 1 or index == last:
            current = node_hash(step, current)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            current = node_hash(current, step)
        index, last = index >> 1, last >> 1
    return last == 0 and hmac.compare_digest(current, root)


def verify_consistency(
    *, old: int, old_root: bytes, new: int, new_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the new tree begins with exactly the leaves of the old one."""
    if not 0 <= old <= new <= MAX_SIZE or not _well_formed(path):
        return False
    if old == new:
        return not path and hmac.compare_digest(old_root, new_root)
    if old == 0:
        return not path and hmac.compare_digest(old_root, EMPTY_ROOT)
    roots = _consistent_roots(old, new, old_root, path)
    if roots is None:
        return False
    return hmac.compare_digest(roots[0], old_root) and hmac.compare_digest(roots[1], new_root)


def _consistent_roots(
    old: int, new: int, old_root: bytes, path: Sequence[bytes]
) -> tuple[bytes, bytes] | None:
    """Both roots as the path has them; nothing if the path has another length than it must."""
    steps = list(path)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return None
    index, last = old - 1, new - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if index & 1 or index == last:
            before, after = node_hash(step, before), node_hash(step, after)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            after = node_hash(after, step)
        index, last = index >> 1, last >> 1
    return (before, after) if last == 0 else None


def _range_root(start: int, end: int, node: Lookup) -> bytes:
    """The root over leaves ``start`` to ``end``, which begin where a subtree can begin."""
    return _bag([node((level, (start >> level) + index)) for level, index in peaks_of(end - start)])


def _bag(peaks: Sequence[bytes]) -> bytes:
    if not peaks:
        return EMPTY_ROOT
    current = peaks[-1]
    for peak in reversed(peaks[:-1]):
        current = node_hash(peak, current)
    return current


def _well_formed(path: Sequence[bytes]) -> bool:
    return len(path) <= MAX_PROOF_HASHES and all(len(step) == HASH_BYTES for step in path)

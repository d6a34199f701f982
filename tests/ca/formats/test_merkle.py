"""Against a second implementation, written down straight from RFC 6962 §2.1."""

import pytest

from ca.formats import merkle
from ca.formats.merkle import EMPTY_ROOT, Frontier, Node, leaf_hash, node_hash

LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]


def split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def root(leaves: list[bytes]) -> bytes:
    if len(leaves) <= 1:
        return leaves[0] if leaves else EMPTY_ROOT
    k = split(len(leaves))
    return node_hash(root(leaves[:k]), root(leaves[k:]))


def audit_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*audit_path(index, leaves[:k]), root(leaves[k:])]
    return [*audit_path(index - k, leaves[k:]), root(leaves[:k])]


def subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*subproof(old, leaves[:k], whole=whole), root(leaves[k:])]
    return [*subproof(old - k, leaves[k:], whole=False), root(leaves[:k])]


@pytest.fixture(scope="module")
def nodes() -> dict[Node, bytes]:
    return Frontier().grow(LEAVES)[1]


def test_the_vectors_of_the_rfc() -> None:
    """Leaf and root hashes of the tests of Certificate Transparency's own implementation."""
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex().startswith("6e340b9cffb37a989ca544e6bb780a2c")
    pair, _ = Frontier().grow([leaf_hash(b""), leaf_hash(b"\x00")])
    assert pair.root.hex().startswith("fac54203e7cc696cf0dfcb42c92a1d9d")


def test_a_tree_grows_leaf_by_leaf_or_at_once(nodes: dict[Node, bytes]) -> None:
    grown = Frontier()
    for size, leaf in enumerate(LEAVES, start=1):
        grown, _ = grown.grow([leaf])
        assert grown.root == root(LEAVES[:size])
        assert grown == Frontier().grow(LEAVES[:size])[0]
        assert grown == Frontier.read(size, nodes.__getitem__)
        assert dict(grown.nodes()).items() <= nodes.items()


def test_every_leaf_is_proved_in_every_tree(nodes: dict[Node, bytes]) -> None:
    for size in range(1, len(LEAVES) + 1):
        top = root(LEAVES[:size])
        for index in range(size):
            path = merkle.inclusion_path(index, size, nodes.__getitem__)
            assert list(path) == audit_path(index, LEAVES[:size])
            assert merkle.verify_inclusion(
                LEAVES[index], index=index, size=size, path=path, root=top
            )


def test_every_tree_is_proved_to_be_a_prefix(nodes: dict[Node, bytes]) -> None:
    for new in range(len(LEAVES) + 1):
        for old in range(new + 1):
            path = merkle.consistency_path(old, new, nodes.__getitem__)
            if old:
                assert list(path) == subproof(old, LEAVES[:new], whole=True)
            assert merkle.verify_consistency(
                old=old,
                old_root=root(LEAVES[:old]),
                new=new,
                new_root=root(LEAVES[:new]),
                path=path,
            )


def test_a_proof_shows_nothing_else(nodes: dict[Node, bytes]) -> None:
    for size in (1, 2, 3, 7, 8, 21):
        top = root(LEAVES[:size])
        for index in range(size):
            path = list(merkle.inclusion_path(index, size, nodes.__getitem__))
            wrong = [
                (LEAVES[index], index, path[:-1]) if path else (LEAVES[60], index, path),
                (LEAVES[index], index, [*path, top]),
                (LEAVES[index], index, [*path[:-1], top]) if path else (LEAVES[61], index, path),
                (LEAVES[60], index, path),
                (LEAVES[index], size, path),
                (LEAVES[index], -1, path),
                (LEAVES[index], index, [step[:-1] for step in path] or [b""]),
            ]
            wrong += [(LEAVES[index], other, path) for other in range(size) if other != index]
            for leaf, place, steps in wrong:
                assert not merkle.verify_inclusion(
                    leaf, index=place, size=size, path=steps, root=top
                )


def test_a_changed_log_is_no_continuation(nodes: dict[Node, bytes]) -> None:
    for new in (2, 5, 8, 21):
        for old in range(1, new):
            path = list(merkle.consistency_path(old, new, nodes.__getitem__))
            before, after = root(LEAVES[:old]), root(LEAVES[:new])
            forged = root([*LEAVES[: old - 1], LEAVES[60]])
            changed = root([*LEAVES[: old - 1], LEAVES[60], *LEAVES[old:new]])
            for old_root, new_root, steps in (
                (forged, after, path),
                (before, changed, path),
                (before, after, path[:-1]),
                (before, after, [*path, before]),
            ):
                assert not merkle.verify_consistency(
                    old=old, old_root=old_root, new=new, new_root=new_root, path=steps
                )


def test_sizes_out_of_order_are_refused(nodes: dict[Node, bytes]) -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3), (0, merkle.MAX_SIZE + 1)):
        with pytest.raises(ValueError, match="leaf"):
            merkle.inclusion_path(index, size, nodes.__getitem__)
    for old, new in ((3, 2), (-1, 2), (0, merkle.MAX_SIZE + 1)):
        with pytest.raises(ValueError, match="order"):
            merkle.consistency_path(old, new, nodes.__getitem__)
        assert not merkle.verify_consistency(
            old=old, old_root=EMPTY_ROOT, new=new, new_root=EMPTY_ROOT, path=[]
        )


def test_what_a_path_needs_is_known_beforehand(nodes: dict[Node, bytes]) -> None:
    for index in range(45):
        needed = merkle.nodes_needed(lambda node, i=index: merkle.inclusion_path(i, 45, node))  # type: ignore[misc]
        found = {node: nodes[node] for node in needed}
        path = merkle.inclusion_path(index, 45, found.__getitem__)
        assert path == tuple(audit_path(index, LEAVES[:45]))
        assert len(needed) <= 2 * (45).bit_length()

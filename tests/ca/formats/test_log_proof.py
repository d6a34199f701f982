from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ca.formats import merkle
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.errors import FormatError
from ca.formats.log_proof import InclusionProof, LogEntry, ProofError

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = LogKey(origin="gateway.test/ca/log", public=PRIVATE.public_key())
ENTRIES = [LogEntry(kind="ssh", issued_at_ms=n, certificate=bytes([n + 1])) for n in range(5)]
TREE, NODES = merkle.Frontier().grow(entry.leaf_hash() for entry in ENTRIES)
PROOF = InclusionProof(
    index=2,
    issued_at_ms=2,
    hashes=merkle.inclusion_path(2, 5, NODES.__getitem__),
    checkpoint=Checkpoint(origin=KEY.origin, size=5, root=TREE.root).sign(PRIVATE),
)


def test_a_proof_holds_after_its_journey() -> None:
    again = InclusionProof.from_json(PROOF.to_json() | {"unknown": 1})
    assert again == PROOF
    assert again.verify(ENTRIES[2], KEY).size == 5


def test_a_leaf_says_what_it_is_over() -> None:
    entry = LogEntry(kind="x509", issued_at_ms=258, certificate=b"der")
    assert entry.leaf() == b"\x00\x02" + bytes(6) + b"\x01\x02" + b"\x00\x00\x00\x03" + b"der"


@pytest.mark.parametrize("entry", [ENTRIES[1], ENTRIES[3]])
def test_it_holds_for_no_other_certificate(entry: LogEntry) -> None:
    with pytest.raises(ProofError):
        PROOF.verify(entry, KEY)
    moved = LogEntry(kind="ssh", issued_at_ms=2, certificate=entry.certificate)
    with pytest.raises(ProofError):
        PROOF.verify(moved, KEY)


def test_it_holds_for_no_other_kind() -> None:
    other = LogEntry(kind="x509", issued_at_ms=2, certificate=ENTRIES[2].certificate)
    with pytest.raises(ProofError):
        PROOF.verify(other, KEY)


@pytest.mark.parametrize(
    "changes",
    [
        {"index": "2"},
        {"index": True},
        {"index": -1},
        {"index": 2**62 + 1},
        {"index": None},
        {"issued_at": 1.5},
        {"issued_at": 2**63},
        {"hashes": None},
        {"hashes": "abc"},
        {"hashes": [None]},
        {"hashes": [""]},
        {"hashes": ["A" * 44]},
        {"hashes": ["*" * 44]},
        {"hashes": ["A" * 43 + "="] * 129},
        {"checkpoint": None},
        {"checkpoint": "x" * 5000},
    ],
)
def test_anything_malformed_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(FormatError):
        InclusionProof.from_json(PROOF.to_json() | changes)


@pytest.mark.parametrize("document", [None, [], "", 1, {}])
def test_anything_else_is_refused(document: Any) -> None:
    with pytest.raises(ProofError):
        InclusionProof.from_json(document)


@pytest.mark.parametrize("certificate", [b"", bytes(64 * 1024 + 1)])
def test_no_certificate_is_that_long_or_short(certificate: bytes) -> None:
    with pytest.raises(ProofError):
        LogEntry(kind="ssh", issued_at_ms=0, certificate=certificate)


@pytest.mark.parametrize(("kind", "at"), [("ssh", -1), ("ssh", 2**63), ("pgp", 0)])
def test_an_entry_has_a_kind_and_a_time(kind: Any, at: int) -> None:
    with pytest.raises(ProofError):
        LogEntry(kind=kind, issued_at_ms=at, certificate=b"x")

"""What little input can claim costs no more memory than what much input is allowed to say."""

import tracemalloc
from collections.abc import Callable

import pytest

from ca.formats import wire
from ca.formats.checkpoint import MAX_NOTE_CHARACTERS
from ca.formats.krl import MAX_KRL_BYTES, parse_krl
from ca.formats.ssh_certificate import MAX_CERTIFICATE_BYTES
from ca.formats.ssh_keys import MAX_KEY_BLOB_BYTES
from ca.formats.sshsig import MAX_SSHSIG_BYTES
from ca.subject_keys import MAX_KEY_BYTES
from tests.fuzz.targets import TARGETS

HUGE = b"\xff\xff\xff\xff"
KRL_HEAD = b"SSHKRL\n\0" + wire.uint32(1) + bytes(24) + wire.string(b"") * 2
SPREAD_BITS = wire.mpint(int("01" * 8190, 2))
"""The bitmap that names the most stretches of serials for its length."""


def peak(call: Callable[[bytes], object], data: bytes) -> int:
    """Most bytes Python had for ``call`` at one time."""
    call(b"")
    tracemalloc.start()
    try:
        call(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def claims(target: str) -> list[bytes]:
    """Lengths that are not there, at every place a length may stand in a short input."""
    kinds = {
        "key-blob": b"ssh-ed25519",
        "certificate": b"ssh-ed25519-cert-v01@openssh.com",
        "tunnel-login": b"ssh-ed25519-cert-v01@openssh.com",
        "lint": b"ssh-ed25519-cert-v01@openssh.com",
    }
    begins = wire.string(kinds[target]) if target in kinds else b""
    begins = KRL_HEAD if target == "krl" else begins
    begins = b"SSHSIG" + wire.uint32(1) if target == "sshsig" else begins
    return [begins + wire.string(b"x" * 32) * fields + HUGE + b"x" * 40 for fields in range(6)]


@pytest.mark.parametrize("target", TARGETS)
def test_a_claimed_length_costs_nothing(target: str) -> None:
    for data in claims(target):
        assert peak(TARGETS[target], data) < 400_000


@pytest.mark.parametrize(
    ("target", "limit", "head"),
    [
        ("key-blob", MAX_KEY_BLOB_BYTES, wire.string(b"ssh-rsa")),
        ("key-line", MAX_KEY_BYTES, b"ssh-ed25519 "),
        ("subject-key", MAX_KEY_BYTES, b"ssh-ed25519 "),
        ("csr", MAX_KEY_BYTES, b"-----BEGIN CERTIFICATE REQUEST-----\n"),
        ("certificate", MAX_CERTIFICATE_BYTES, wire.string(b"ssh-ed25519-cert-v01@openssh.com")),
        ("sshsig", MAX_SSHSIG_BYTES, b"SSHSIG" + wire.uint32(1)),
        ("checkpoint", MAX_NOTE_CHARACTERS, b"gateway.test/ca/log\n1\n"),
        ("krl", MAX_KRL_BYTES, KRL_HEAD),
    ],
)
def test_beyond_the_limit_nothing_is_looked_at(target: str, limit: int, head: bytes) -> None:
    data = head + b"A" * (limit + 1)
    # The input itself may be looked at once as text.
    assert peak(TARGETS[target], data) < 6 * len(data) + 400_000


def test_many_small_fields_of_a_certificate() -> None:
    head = wire.string(b"ssh-ed25519-cert-v01@openssh.com") + wire.string(b"n" * 32)
    head += wire.string(b"k" * 32) + bytes(12) + wire.string(b"id")
    names = wire.string(bytes(4) * 30_000)
    assert peak(TARGETS["certificate"], head + names + bytes(100)) < 4_000_000


def section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + wire.string(content)


def krl_of_bitmaps(*, cas: int, bitmaps: int) -> bytes:
    """Many far-spread serials in few bytes."""
    parts = [KRL_HEAD]
    for ca in range(cas):
        serials = b"".join(
            section(0x22, wire.uint64(1 + number * 2**20) + SPREAD_BITS)
            for number in range(bitmaps)
        )
        parts.append(section(1, wire.string(b"ca%d" % ca) + wire.string(b"") + serials))
    return b"".join(parts)


@pytest.mark.parametrize(("cas", "bitmaps"), [(1, 200), (200, 1), (20, 20), (1, 4000), (4000, 1)])
def test_a_krl_that_unfolds(cas: int, bitmaps: int) -> None:
    data = krl_of_bitmaps(cas=cas, bitmaps=bitmaps)
    assert len(data) <= MAX_KRL_BYTES

    def read(content: bytes) -> None:
        try:
            parse_krl(content)
        except ValueError:
            return

    assert peak(read, data) < 80_000_000

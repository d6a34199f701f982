"""Key revocation lists: the value behind the bytes, the fewest bytes, and what is refused."""

import dataclasses
from hashlib import sha1, sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.formats.errors import FormatError
from ca.formats.krl import MAGIC, Krl, KrlError, RevokedByCa, parse_krl, renumbered
from ca.formats.krl_serials import (
    MAX_BITMAP_BITS,
    MAX_SERIAL,
    SERIAL_BITMAP,
    SERIAL_LIST,
    SERIAL_RANGE,
    contains,
    decode_serials,
    encode_serials,
    merged,
    section,
)
from ca.formats.wire import mpint, string, uint32, uint64

HEAD = MAGIC + uint32(1) + uint64(1) + uint64(2) + uint64(0) + string(b"") + string(b"c")
SERIALS = st.integers(1, MAX_SERIAL)
NEAR = st.integers(1, 3000)
RANGES = st.lists(
    st.tuples(NEAR | SERIALS, st.integers(0, 400)).map(
        lambda pair: (pair[0], min(pair[0] + pair[1], MAX_SERIAL))
    ),
    max_size=40,
)


def kinds_of(*serials: int) -> list[int]:
    return [kind for kind, _ in encode_serials(merged((one, one) for one in serials))]


@given(RANGES)
def test_serials_come_back_from_every_form(ranges: list[tuple[int, int]]) -> None:
    settled = merged(ranges)

    read = [
        stretch
        for kind, content in encode_serials(settled)
        for stretch in decode_serials(kind, content)
    ]

    assert merged(read) == settled
    for first, last in ranges:
        assert contains(settled, first)
        assert contains(settled, last)


@given(st.sets(st.integers(1, 200)))
def test_a_set_holds_what_it_was_made_of_and_nothing_else(serials: set[int]) -> None:
    settled = merged((one, one) for one in serials)

    assert {one for one in range(202) if contains(settled, one)} == serials


def test_each_form_is_chosen_where_it_is_the_shortest() -> None:
    assert kinds_of(5, 10**6, 10**12) == [SERIAL_LIST]
    assert kinds_of(*range(100, 200, 3)) == [SERIAL_BITMAP]
    assert kinds_of(*range(1000, 9000)) == [SERIAL_RANGE]
    assert kinds_of(7, *range(1000, 9000), *range(10**9, 10**9 + 90, 3)) == [
        SERIAL_LIST,
        SERIAL_RANGE,
        SERIAL_BITMAP,
    ]


@given(st.sets(NEAR, min_size=1, max_size=300))
def test_no_form_is_longer_than_a_plain_list(serials: set[int]) -> None:
    sections = [section(*one) for one in encode_serials(merged((n, n) for n in serials))]

    assert sum(map(len, sections)) <= 5 + 8 * len(serials)


def test_a_bitmap_is_never_longer_than_sshd_reads() -> None:
    serials = range(1, 4 * MAX_BITMAP_BITS, 2)

    sections = list(encode_serials(merged((one, one) for one in serials)))

    assert len(sections) > 1
    assert all(len(content) <= 8 + 4 + MAX_BITMAP_BITS // 8 + 1 for _, content in sections)


KRLS = st.builds(
    Krl,
    number=st.integers(0, MAX_SERIAL),
    generated_at=st.integers(0, MAX_SERIAL),
    comment=st.binary(max_size=20),
    certificates=st.lists(
        st.builds(
            RevokedByCa,
            ca=st.sampled_from([b"", b"ca one", b"ca two"]),
            serials=RANGES.map(tuple),
            key_ids=st.lists(st.binary(min_size=1, max_size=9).filter(lambda b: 0 not in b)).map(
                tuple
            ),
        ),
        max_size=4,
    ).map(tuple),
    keys=st.lists(st.binary(min_size=1, max_size=40), max_size=4).map(tuple),
    sha256=st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    sha1=st.lists(st.binary(min_size=20, max_size=20), max_size=4).map(tuple),
)


@given(KRLS)
def test_the_same_value_always_has_the_same_bytes(krl: Krl) -> None:
    read = parse_krl(krl.encode())

    assert read == krl
    assert read.encode() == krl.encode()


def test_order_and_repetition_make_no_difference() -> None:
    one = Krl(
        certificates=(
            RevokedByCa.of_serials(b"b", [3, 2, 9]),
            RevokedByCa.of_serials(b"a", [5]),
            RevokedByCa(ca=b"b", serials=((4, 4),), key_ids=(b"y", b"x", b"y")),
        ),
        keys=(b"k2", b"k1", b"k1"),
    )

    assert one.certificates == (
        RevokedByCa(ca=b"a", serials=((5, 5),)),
        RevokedByCa(ca=b"b", serials=((2, 4), (9, 9)), key_ids=(b"x", b"y")),
    )
    assert one.keys == (b"k1", b"k2")


def test_a_certificate_is_revoked_in_every_way_sshd_looks_it_up() -> None:
    def revokes(krl: Krl, *, serial: int = 5) -> bool:
        return krl.revokes_certificate(ca=b"ca", serial=serial, key_id=b"id", subject=b"key")

    digest = sha256(b"key").digest()
    assert revokes(Krl(certificates=(RevokedByCa.of_serials(b"ca", [5]),)))
    assert revokes(Krl(certificates=(RevokedByCa.of_serials(b"", [5]),)))
    assert revokes(Krl(certificates=(RevokedByCa(ca=b"ca", key_ids=(b"id",)),)))
    assert revokes(Krl(keys=(b"key",)))
    assert revokes(Krl(keys=(b"ca",)))
    assert revokes(Krl(sha256=(digest,)))
    assert revokes(Krl(sha1=(sha1(b"key").digest(),)))
    assert not revokes(Krl(certificates=(RevokedByCa.of_serials(b"other", [5]),)))
    assert not revokes(Krl(certificates=(RevokedByCa.of_serials(b"ca", [4, 6]),)))
    assert not revokes(Krl(certificates=(RevokedByCa(ca=b"ca", serials=((1, 9),)),)), serial=0)


def test_a_list_that_names_nothing_says_so() -> None:
    assert Krl(number=3).is_empty
    assert parse_krl(Krl(number=3).encode()) == Krl(number=3)
    assert Krl(certificates=(RevokedByCa(ca=b"x"),)).certificates == ()


def certificates(*parts: bytes) -> bytes:
    return section(1, string(b"ca") + string(b"") + b"".join(parts))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SSHKRL",
        b"ssh-ed25519 AAAA\n",
        HEAD[:-1],
        HEAD.replace(uint32(1), uint32(2), 1),
        HEAD + b"\x01",
        HEAD + section(4, b"signature"),
        HEAD + section(255, b"extension"),
        HEAD + section(99, b""),
        HEAD + section(2, b""),
        HEAD + section(2, string(b"")),
        HEAD + section(5, string(b"not a digest")),
        HEAD + section(1, string(b"ca") + string(b"reserved")),
        HEAD + certificates(section(0x39, b"")),
        HEAD + certificates(section(SERIAL_LIST, b"")),
        HEAD + certificates(section(SERIAL_LIST, b"1234567")),
        HEAD + certificates(section(SERIAL_LIST, uint64(0))),
        HEAD + certificates(section(SERIAL_RANGE, uint64(0) + uint64(5))),
        HEAD + certificates(section(SERIAL_RANGE, uint64(6) + uint64(5))),
        HEAD + certificates(section(SERIAL_RANGE, uint64(1) + uint64(5) + b"x")),
        HEAD + certificates(section(SERIAL_BITMAP, uint64(0) + mpint(1))),
        HEAD + certificates(section(SERIAL_BITMAP, uint64(5) + mpint(0))),
        HEAD + certificates(section(SERIAL_BITMAP, uint64(MAX_SERIAL) + mpint(2))),
        HEAD + certificates(section(SERIAL_BITMAP, uint64(5) + string(b"\x80"))),
        HEAD + certificates(section(SERIAL_BITMAP, uint64(5) + string(bytes(3000)))),
        HEAD + certificates(section(0x23, string(b"a\0b"))),
    ],
)
def test_what_is_not_understood_whole_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        parse_krl(data)


@pytest.mark.parametrize("magic", [b"SSHKRL\n\1", b"SSHSRL\n\0", bytes(8)])
def test_what_does_not_begin_as_a_krl_is_none(magic: bytes) -> None:
    assert len(magic) == len(MAGIC)
    assert parse_krl(HEAD)
    with pytest.raises(KrlError, match="not a key revocation list"):
        parse_krl(magic + HEAD[len(MAGIC) :])


def test_flags_are_refused() -> None:
    flagged = MAGIC + uint32(1) + uint64(1) + uint64(2) + uint64(1) + string(b"") + string(b"")

    with pytest.raises(KrlError):
        parse_krl(flagged)


@pytest.mark.parametrize("stretch", [(0, 1), (5, 4), (1, MAX_SERIAL + 1), (-1, 1)])
def test_serials_that_no_certificate_has_are_refused(stretch: tuple[int, int]) -> None:
    with pytest.raises(KrlError):
        RevokedByCa(ca=b"", serials=(stretch,))


def test_another_number_leaves_the_rest_as_it_is() -> None:
    plain = Krl(comment=b"c", certificates=(RevokedByCa.of_serials(b"", [7, 9]),), keys=(b"k",))
    again = parse_krl(renumbered(plain.encode(), number=5, generated_at=6))
    assert again == dataclasses.replace(plain, number=5, generated_at=6)

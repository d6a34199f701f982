"""RFC 4251 §5, read strictly: every value has one encoding and nothing is taken on trust."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.formats.wire import MAX_MPINT_BYTES, Reader, WireError, byte, mpint, string, uint32, uint64


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00000000"),
        (0x9A378F9B2E332A7, "0000000809a378f9b2e332a7"),
        (0x80, "000000020080"),
        (0x7F, "000000017f"),
    ],
)
def test_integers_are_those_of_the_rfc(number: int, encoded: str) -> None:
    assert mpint(number).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).mpint() == number


@given(
    st.integers(0, 255),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(max_size=300),
    st.integers(0, 2**2048),
    st.binary(max_size=20),
)
def test_what_is_written_is_read(
    octet: int, short: int, long: int, text: bytes, big: int, tail: bytes
) -> None:
    packed = byte(octet) + uint32(short) + uint64(long) + string(text) + mpint(big) + tail
    reader = Reader(packed)
    assert reader.byte() == octet
    assert reader.uint32() == short
    assert reader.uint64() == long
    assert reader.string() == text
    assert reader.mpint() == big
    assert reader.remaining == len(tail)
    assert reader.rest() == tail
    reader.end()


@pytest.mark.parametrize(
    "encoded",
    [
        "0000000100",  # zero with an octet
        "00000002007f",  # a needless zero in front
        "0000000180",  # negative
        "00000002",
        "000000",
        "",
    ],
)
def test_no_other_integers(encoded: str) -> None:
    with pytest.raises(WireError):
        Reader(bytes.fromhex(encoded)).mpint()


def test_an_integer_has_16384_bits_at_most() -> None:
    assert Reader(mpint(2**16384 - 1)).mpint() == 2**16384 - 1
    with pytest.raises(WireError, match="longer than any key"):
        Reader(string(b"\x01" * (MAX_MPINT_BYTES + 1))).mpint()


@pytest.mark.parametrize("take", ["byte", "uint32", "uint64", "string", "mpint"])
def test_nothing_is_taken_from_nothing(take: str) -> None:
    with pytest.raises(WireError):
        getattr(Reader(b""), take)()


def test_bytes_that_are_left_are_an_error() -> None:
    with pytest.raises(WireError, match="after the last field"), Reader(b"\0\0\0\1ab") as reader:
        assert reader.string() == b"a"


def test_an_error_inside_is_not_replaced_by_one_about_the_rest() -> None:
    with pytest.raises(KeyError), Reader(b"left"):
        raise KeyError


@pytest.mark.parametrize("write", [lambda: byte(256), lambda: uint32(2**32), lambda: uint64(-1)])
def test_a_number_that_does_not_fit_is_a_typed_error(write: object) -> None:
    with pytest.raises(WireError):
        write()  # type: ignore[operator]


def test_there_are_no_negative_integers() -> None:
    with pytest.raises(WireError):
        mpint(-1)


def test_a_length_without_the_bytes_allocates_nothing() -> None:
    claim = uint32(2**32 - 1) + b"x"
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            Reader(claim).string()
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()

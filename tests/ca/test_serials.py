"""Serial numbers are as long as they claim and never zero."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ca.serials import MAX_SSH_SERIAL, MAX_X509_SERIAL, ssh_serial, x509_serial


def replay(*answers: bytes) -> Callable[[int], bytes]:
    remaining = iter(answers)
    return lambda _count: next(remaining)


@given(st.binary(min_size=8, max_size=8).filter(any))
def test_an_ssh_serial_is_the_64_bits_it_was_given(octets: bytes) -> None:
    assert ssh_serial(lambda count: octets[:count]) == int.from_bytes(octets)


def test_an_x509_serial_is_positive_and_fits_20_octets() -> None:
    assert x509_serial(lambda count: b"\xff" * count) == MAX_X509_SERIAL
    assert ssh_serial(lambda count: b"\xff" * count) == MAX_SSH_SERIAL


@pytest.mark.parametrize(
    ("make", "zero", "one"),
    [
        (ssh_serial, bytes(8), bytes(7) + b"\x01"),
        (x509_serial, bytes(19) + b"\x01", bytes(19) + b"\x02"),
    ],
)
def test_zero_is_drawn_again(
    make: Callable[[Callable[[int], bytes]], int], zero: bytes, one: bytes
) -> None:
    assert make(replay(zero, one)) == 1


def test_the_default_is_unpredictable() -> None:
    assert len({ssh_serial() for _ in range(100)} | {x509_serial() for _ in range(100)}) == 200

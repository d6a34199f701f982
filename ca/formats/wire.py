"""The SSH wire format (RFC 4251 §5): a strict reader and the matching writers.

The reader is total: any bytes give values or ``WireError``. It never allocates more than its input,
because lengths are compared with what is there before anything is cut.
"""

from typing import Self

from ca.formats.errors import WireError

__all__ = ["MAX_MPINT_BYTES", "Reader", "WireError", "byte", "mpint", "string", "uint32", "uint64"]

MAX_MPINT_BYTES = 16384 // 8 + 1
"""SSHBUF_MAX_BIGNUM of OpenSSH: 16384 bits and a sign octet."""


class Reader:
    """Takes values off the front of ``data``; every method raises ``WireError`` when it cannot."""

    __slots__ = ("_data", "_place")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.end()

    @property
    def position(self) -> int:
        """How many bytes were taken so far."""
        return self._place

    @property
    def remaining(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._place

    def take(self, length: int) -> bytes:
        """Exactly ``length`` bytes."""
        start, stop = self._place, self._place + length
        if stop > len(self._data):
            raise WireError("a field is longer than what is left")
        self._place = stop
        return self._data[start:stop]

    def byte(self) -> int:
        """One octet."""
        return self.take(1)[0]

    def uint32(self) -> int:
        """Four octets, most significant first."""
        return int.from_bytes(self.take(4))

    def uint64(self) -> int:
        """Eight octets, most significant first."""
        return int.from_bytes(self.take(8))

    def string(self) -> bytes:
        """A length of four octets and that many bytes."""
        # Written out, not by ``take``: most of the time of reading a certificate is spent here.
        data, start = self._data, self._place + 4
        stop = start + int.from_bytes(data[self._place : start])
        if start > len(data) or stop > len(data):
            raise WireError("a field is longer than what is left")
        self._place = stop
        return data[start:stop]

    def mpint(self) -> int:
        """A non-negative integer of at most 16384 bits, without needless octets in front."""
        octets = self.string()
        if len(octets) > MAX_MPINT_BYTES:
            raise WireError("an integer is longer than any key needs")
        if octets and (octets[0] & 0x80 or (octets[0] == 0 and not octets[1:2] >= b"\x80")):
            raise WireError("an integer is negative or not in its shortest form")
        return int.from_bytes(octets)

    def rest(self) -> bytes:
        """Whatever is left, possibly nothing."""
        return self.take(self.remaining)

    def end(self) -> None:
        """Demand that nothing is left."""
        if self.remaining:
            raise WireError("there are bytes after the last field")


def byte(value: int) -> bytes:
    """One octet."""
    return _octets(value, 1)


def uint32(value: int) -> bytes:
    """Four octets, most significant first."""
    return _octets(value, 4)


def uint64(value: int) -> bytes:
    """Eight octets, most significant first."""
    return _octets(value, 8)


def string(content: bytes) -> bytes:
    """A length of four octets and the bytes themselves."""
    return len(content).to_bytes(4) + content


def mpint(value: int) -> bytes:
    """A non-negative integer in its shortest form; zero has no octets at all."""
    if value < 0:
        raise WireError("no negative integers here")
    return string(value.to_bytes((value.bit_length() + 8) // 8) if value else b"")


def _octets(value: int, length: int) -> bytes:
    try:
        return value.to_bytes(length)
    except OverflowError as error:
        raise WireError(f"a number does not fit into {length} octets") from error

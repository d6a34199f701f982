"""Sets of serial numbers in a KRL: as ranges in memory, in the smallest of three forms on the wire.

Random serials make a list, neighbours a bitmap, long stretches a range (PROTOCOL.krl of OpenSSH).
"""

from collections.abc import Iterable, Iterator, Sequence

from ca.formats.errors import FormatError
from ca.formats.wire import Reader, mpint, string, uint64

SERIAL_LIST = 0x20
SERIAL_RANGE = 0x21
SERIAL_BITMAP = 0x22

MAX_SERIAL = (1 << 64) - 1
MAX_RANGES = 300_000
"""Most stretches of serials in one KRL here, so that reading one takes bounded memory."""
MAX_BITMAP_BITS = 16_384
"""Longest number sshd reads (SSHBUF_MAX_BIGNUM)."""

_LIST_ENTRY = 8
_RANGE_SECTION = 5 + 16
_BITMAP_SECTION = 5 + 8 + 4

Ranges = tuple[tuple[int, int], ...]
"""First and last serial of each stretch: sorted, apart from each other."""


class KrlError(FormatError):
    """Bytes that are not a key revocation list we understand whole, or contents for none."""

    reason = "krl-invalid"


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same serials as sorted stretches that neither overlap nor touch.

    Raises:
        KrlError: a serial is 0 or over 64 bits, or there are too many.
    """
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if not 1 <= first <= last <= MAX_SERIAL:
            raise KrlError("a KRL names serials from 1 to 2^64-1")
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    if len(found) > MAX_RANGES:
        raise KrlError("too many serials for one KRL")
    return tuple(found)


def contains(ranges: Ranges, serial: int) -> bool:
    """Whether the set holds the serial."""
    low, high = 0, len(ranges)
    while low < high:
        middle = (low + high) // 2
        if ranges[middle][1] < serial:
            low = middle + 1
        else:
            high = middle
    return low < len(ranges) and ranges[low][0] <= serial


def encode_serials(ranges: Ranges) -> Iterator[tuple[int, bytes]]:
    """Sections (type, content) that name these serials: the list, then ranges, then bitmaps."""
    singles: list[int] = []
    stretches: list[tuple[int, int]] = []
    bitmaps: list[list[tuple[int, int]]] = []
    for cluster in _clusters(ranges):
        if len(cluster) > 1 and _bitmap_cost(cluster) < sum(map(_plain_cost, cluster)):
            bitmaps.append(cluster)
            continue
        for first, last in cluster:
            if (last - first + 1) * _LIST_ENTRY <= _RANGE_SECTION:
                singles.extend(range(first, last + 1))
            elif _bitmap_cost([(first, last)]) < _RANGE_SECTION:
                bitmaps.append([(first, last)])
            else:
                stretches.append((first, last))
    if singles:
        yield SERIAL_LIST, b"".join(map(uint64, singles))
    for first, last in stretches:
        yield SERIAL_RANGE, uint64(first) + uint64(last)
    for cluster in bitmaps:
        yield SERIAL_BITMAP, _bitmap(cluster)


def decode_serials(kind: int, content: bytes) -> Iterator[tuple[int, int]]:
    """The stretches that one section names.

    Raises:
        FormatError: malformed, or with serial 0.
    """
    reader = Reader(content)
    if kind == SERIAL_LIST:
        if not content or len(content) % _LIST_ENTRY:
            raise KrlError("a list of serials is cut off or empty")
        for _ in range(len(content) // _LIST_ENTRY):
            serial = reader.uint64()
            yield serial, serial
    elif kind == SERIAL_RANGE:
        yield reader.uint64(), reader.uint64()
        reader.end()
    else:
        offset = reader.uint64()
        bits = reader.mpint()
        reader.end()
        if not 0 < bits < 1 << MAX_BITMAP_BITS:
            raise KrlError("a bitmap of serials is empty, negative or too long")
        yield from _runs(bits, offset)


def _runs(bits: int, offset: int) -> Iterator[tuple[int, int]]:
    position = offset
    while bits:
        gap = (bits & -bits).bit_length() - 1
        bits >>= gap
        position += gap
        run = (~bits & (bits + 1)).bit_length() - 1
        bits >>= run
        yield position, position + run - 1
        position += run


def _clusters(ranges: Ranges) -> Iterator[list[tuple[int, int]]]:
    """Stretches that are near enough to each other to share a bitmap; long ones stay alone."""
    cluster: list[tuple[int, int]] = []
    for first, last in ranges:
        is_long = last - first + 1 > 8 * _RANGE_SECTION
        if cluster and (
            is_long
            or first - cluster[-1][1] > 8 * _LIST_ENTRY
            or last - cluster[0][0] + 1 > MAX_BITMAP_BITS
        ):
            yield cluster
            cluster = []
        if is_long:
            yield [(first, last)]
        else:
            cluster.append((first, last))
    if cluster:
        yield cluster


def _plain_cost(stretch: tuple[int, int]) -> int:
    first, last = stretch
    return min((last - first + 1) * _LIST_ENTRY, _RANGE_SECTION)


def _bitmap_cost(cluster: Sequence[tuple[int, int]]) -> int:
    # The highest bit is set, so a whole number of bytes needs one more for the sign.
    return _BITMAP_SECTION + (cluster[-1][1] - cluster[0][0] + 1) // 8 + 1


def _bitmap(cluster: Sequence[tuple[int, int]]) -> bytes:
    offset = cluster[0][0]
    bits = 0
    for first, last in cluster:
        bits |= ((1 << (last - first + 1)) - 1) << (first - offset)
    return uint64(offset) + mpint(bits)


def section(kind: int, content: bytes) -> bytes:
    """One section: its type as a byte, its content as a string."""
    return bytes([kind]) + string(content)

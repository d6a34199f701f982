"""As much of DER (X.690 §10) as finds one thing in a structure whose rest does not matter.

Libraries read a structure as a whole, and fail for a part that nobody asked about.
"""

from collections.abc import Iterator

from ca.formats.errors import FormatError

SEQUENCE = 0x30
OBJECT_IDENTIFIER = 0x06
OCTET_STRING = 0x04

_HIGH_TAG = 0x1F
_LONG = 0x80
_LENGTH_OCTETS = 4


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in ``data``, one after another.

    Raises:
        FormatError: something does not end where it says, or has a tag of several octets.
    """
    place = 0
    while place < len(data):
        tag = data[place]
        if tag & _HIGH_TAG == _HIGH_TAG:
            raise FormatError("a tag of several octets")
        start, length = _length(data, place + 1)
        place = start + length
        if place > len(data):
            raise FormatError("an element is longer than what it is in")
        yield tag, data[start:place]


def only(data: bytes, tag: int) -> bytes:
    """The content of the one element that ``data`` is. Raises FormatError."""
    found = list(elements(data))
    if [each for each, _ in found] != [tag]:
        raise FormatError("not one element of the kind that belongs here")
    return found[0][1]


def _length(data: bytes, place: int) -> tuple[int, int]:
    """Where the content begins and how long it is."""
    first = data[place : place + 1]
    if not first:
        raise FormatError("an element without a length")
    if first[0] < _LONG:
        return place + 1, first[0]
    stop = place + 1 + first[0] - _LONG
    octets = data[place + 1 : stop]
    if not 1 <= first[0] - _LONG <= _LENGTH_OCTETS or stop > len(data):
        raise FormatError("a length without an end")
    return stop, int.from_bytes(octets)

"""Serial numbers: random, never a counter, never zero.

A counter restored from a backup would give two certificates one serial, and a revocation would hit
the wrong one. Uniqueness is the database's to enforce; at these sizes it never has to.
"""

import os
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]
"""Returns that many unpredictable bytes; ``os.urandom`` outside tests."""

MAX_SSH_SERIAL = 2**64 - 1
MAX_X509_SERIAL = 2**159 - 1
"""20 octets with the sign bit clear (RFC 5280 §4.1.2.2)."""


def ssh_serial(random_bytes: RandomBytes = os.urandom) -> int:
    """A 64-bit serial number for an SSH certificate; KRL serial sections cannot name 0."""
    return _non_zero(random_bytes, octets=8, bits=64)


def x509_serial(random_bytes: RandomBytes = os.urandom) -> int:
    """A positive 159-bit serial number for an X.509 certificate."""
    return _non_zero(random_bytes, octets=20, bits=159)


def _non_zero(random_bytes: RandomBytes, *, octets: int, bits: int) -> int:
    while True:
        value = int.from_bytes(random_bytes(octets)) >> (octets * 8 - bits)
        if value:
            return value

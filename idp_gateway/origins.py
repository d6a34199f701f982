"""Where requests come from: an address, and what the operator's files say about it.

The files are in MaxMind's format (https://maxmind.github.io/MaxMind-DB/), one for countries and one
for autonomous systems. A file that is replaced is read anew. What is not known is ``None``, and a
rule that needs it does not admit anybody: so is every address while a file is missing or damaged.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import maxminddb

from policy.address_sets import unmapped
from policy.types import IPAddress

LOOK_SECONDS = 5.0
"""How long a replaced file may go unnoticed."""

_LARGEST_ASN = 2**32 - 1
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request comes from."""

    address: IPAddress
    country: str | None = None
    """ISO 3166-1 alpha-2, upper case."""
    asn: int | None = None


class _RangeFile:
    """One file, as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._looked_at = -LOOK_SECONDS
        self._seen: tuple[int, int, int] | None = None
        self._reader: maxminddb.Reader | None = None
        self._warned = False

    def find(self, address: IPAddress) -> Mapping[str, Any]:
        """What the file says; nothing, if it says nothing or cannot be read."""
        reader = self._current()
        if reader is None:
            return {}
        try:
            found = reader.get(address)
        except Exception as error:  # noqa: BLE001 - a damaged file may raise anything
            self._warn(error)
            return {}
        return found if isinstance(found, dict) else {}

    def _current(self) -> maxminddb.Reader | None:
        now = time.monotonic()
        with self._lock:
            if now - self._looked_at >= LOOK_SECONDS:
                self._looked_at = now
                self._look()
            return self._reader

    def _look(self) -> None:
        try:
            state = self._path.stat()
            seen = (state.st_ino, state.st_mtime_ns, state.st_size)
            if seen == self._seen:
                return
            self._seen, self._warned = seen, False
            # In memory: a mapped file that is overwritten in place would end the process.
            self._reader = maxminddb.open_database(self._path, maxminddb.MODE_MEMORY)
        except Exception as error:  # noqa: BLE001 - a damaged file may raise anything
            self._reader = None
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            log.warning("%s cannot be used, so nothing in it is known: %r", self._path, error)
        self._warned = True


class Origins:
    """Looks addresses up; safe in any thread."""

    def __init__(self, *, country_file: Path | None, asn_file: Path | None) -> None:
        """Nothing is read yet, and a file may come later."""
        self._country = None if country_file is None else _RangeFile(country_file).find
        self._asn = None if asn_file is None else _RangeFile(asn_file).find

    def of(self, address: IPAddress) -> Origin:
        """Where a request from this address comes from; IPv4 written as IPv6 is IPv4."""
        plain = unmapped(address)
        return Origin(
            address=address,
            country=_country(_found(self._country, plain)),
            asn=_asn(_found(self._asn, plain)),
        )


def _found(
    find: Callable[[IPAddress], Mapping[str, Any]] | None, address: IPAddress
) -> Mapping[str, Any]:
    return {} if find is None else find(address)


def _country(found: Mapping[str, Any]) -> str | None:
    """Of the place, never of where the network is registered."""
    country = found.get("country")
    # MaxMind nests it; the files of others keep the code in a field of its own.
    flat = found.get("country_code", country)
    code = country.get("iso_code") if isinstance(country, dict) else flat
    if isinstance(code, str) and len(code) == 2 and code.isascii() and code.isalpha():
        return code.upper()
    return None


def _asn(found: Mapping[str, Any]) -> int | None:
    number = found.get("autonomous_system_number", found.get("asn"))
    if isinstance(number, str):
        digits = number.removeprefix("AS")
        number = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 11 else 0
    known = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= _LARGEST_ASN
    return number if known else None

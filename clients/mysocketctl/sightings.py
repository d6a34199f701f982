"""Certificates that servers and edges saw, read from their logs.

sshd writes (auth2.c and auth2-pubkey.c of OpenSSH), at its default log level:

    Accepted publickey for bob from 192.0.2.1 port 50022 ssh2: ED25519-CERT SHA256:… ID … (serial 7)
    CA ED25519 SHA256:…

and of a host's certificate ``Accepted hostbased for …``, with more behind that the host chose. The
key id is the certificate's own word and may hold anything, also what looks like such a line.
So what stands before it is read from the front and what follows it from the end, and a line that
sshd may have cut off (log.c) has no end to go by.
An edge writes one JSON object a line, see ``docs/transparency.md``.

When it was, syslog says at the line's beginning: in full (RFC 3339, or seconds since 1970), or
without year and zone (RFC 3164). Then it is this machine's zone, and the last year that fits.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import BinaryIO, Literal, NamedTuple

from clients.mysocketctl.api import Json
from clients.mysocketctl.names import printable
from clients.mysocketctl.sshd_lines import LET_IN, UnknownLine, login_message

MAX_LINE_BYTES = 1 << 20
MAX_KEY_ID = 4096
"""Characters; sshd's own lines end before."""
MAX_SSHD_LINE_BYTES = 4096
"""sshd cuts its messages at 1024 (MSGBUFSIZ of log.c); what a syslog puts in front is short."""

_SYSLOG_CUT = 500
"""Bytes of a message that sshd hands to syslog at most, in all versions."""
_CUT = 1016
"""A message of so many bytes may be one cut to its buffer of 1024: an escape is left out whole."""

_SPEAKS_OF_LOGIN = re.compile(LET_IN)
_LOGIN = re.compile(LET_IN + rb".*? from \S+ port [0-9]+ ssh2(?:: |$)")
"""To the end of what is not the certificate's word; an account may have blanks in its name."""
_KEY = re.compile(rb"(?P<type>\S+-CERT) (?P<key>SHA256:[A-Za-z0-9+/]{43}) ID ")
_END = re.compile(
    rb" \(serial (?P<serial>[0-9]{1,20})\) CA \S+ (?P<ca>SHA256:[A-Za-z0-9+/]{43})"
    rb"(?P<client>, client user \".*\", client host \".*\")?\s*\Z"
)
_SERIAL = b" (serial "


_PRIORITY = rb"(?:<[0-9]{1,3}>)?(?:1 )?"
_FULL_TIME = re.compile(
    _PRIORITY + rb"(?:[A-Z][a-z]{2} )?(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)"
    rb"(?:[.,]\d{1,9})? ?(?P<zone>Z|UTC|[+-]\d\d:?\d\d) "
)
_SHORT_TIME = re.compile(_PRIORITY + rb"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d)(?:\.\d{1,9})? ")
_UNIX_TIME = re.compile(rb"(\d{10})\.\d{1,9} ")
_X509_SERIAL = re.compile(r"[0-9A-Fa-f]{1,40}")
"""RFC 5280 §4.1.2.2 allows 20 bytes; Envoy lets in more, none and less than none."""
_SHA256 = re.compile(r"[0-9A-Fa-f]{64}")
_NOTHING = (None, "", "-")
_PARTS = ("peer_serial", "peer_sha256", "started_at", "upstream", "details")
_MOST_SHOWN = 100
"""Characters of a word that is in no certificate of a gateway."""
_AHEAD = timedelta(days=1)
"""How far a log without years may be ahead of this machine."""
_YEARS = 8
"""A 29 February may have been that long ago."""


class Sighting(NamedTuple):
    """A certificate that was let in, as far as a log says."""

    kind: Literal["ssh", "x509"]
    serial: str
    ca: str | None = None
    key_fingerprint: str | None = None
    key_id: str | None = None
    certificate_sha256: str | None = None
    seen_at: str | None = None
    """ISO 8601 in UTC; none where the line has no time that can be read."""

    @property
    def may_be_ours(self) -> bool:
        """Whether a gateway could have issued it; no other is worth a question, or fit for one."""
        if self.kind == "ssh":
            return True
        digest = self.certificate_sha256
        return bool(
            _X509_SERIAL.fullmatch(self.serial) and (digest is None or _SHA256.fullmatch(digest))
        )

    def question(self) -> dict[str, Json]:
        """What to ask the gateway."""
        return {name: value for name, value in self._asdict().items() if value is not None}


class Unreadable(NamedTuple):
    """A line that speaks of a certificate in a way that is not understood."""

    line: bytes


def read_sshd_log(
    lines: Iterable[bytes], *, now: datetime | None = None
) -> Iterator[Sighting | Unreadable]:
    """Logins with a certificate; all other lines are passed over."""
    now = now or datetime.now(UTC)
    for line in lines:
        # Looking for a pattern in a long line made for it could take for ever.
        if len(line) > MAX_SSHD_LINE_BYTES:
            if b" publickey for " in line or b" hostbased for " in line:
                yield Unreadable(line)
        elif _SPEAKS_OF_LOGIN.search(line):
            found = _read_login(line)
            if isinstance(found, Sighting):
                found = found._replace(seen_at=_time_of(line, now))
            if found is not None:
                yield found


def _read_login(line: bytes) -> Sighting | Unreadable | None:
    try:
        message = login_message(line)
    except UnknownLine:
        return Unreadable(line)
    if message is None:
        return None
    login = _LOGIN.match(message)
    if login is None or len(message) == _SYSLOG_CUT or len(message) >= _CUT:
        return Unreadable(line)
    shown = message[login.end() :]
    if not shown.split(b" ", 1)[0].endswith(b"-CERT"):
        return None
    key, end = _KEY.match(shown), _END.match(shown, max(0, shown.rfind(_SERIAL)))
    # With a client's user there are two words that may hold what looks like the end.
    if (
        key is None
        or end is None
        or end.start() < key.end()
        or (end["client"] and shown.count(_SERIAL) > 1)
    ):
        return Unreadable(line)
    return Sighting(
        kind="ssh",
        serial=end["serial"].decode(),
        ca=end["ca"].decode(),
        key_fingerprint=key["key"].decode(),
        key_id=shown[key.end() : end.start()].decode("utf-8", "replace")[:MAX_KEY_ID],
    )


def read_edge_log(lines: Iterable[bytes]) -> Iterator[Sighting | Unreadable]:
    """Connections with a client certificate that were let in."""
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            if line.strip():
                yield Unreadable(line)
        elif found := _read_connection(line, entry):
            yield found


def _read_connection(line: bytes, entry: dict[str, Json]) -> Sighting | Unreadable | None:
    if entry.get("peer_serial") in _NOTHING:
        return None
    try:
        serial, digest, at, upstream, details = (_word(entry, name) for name in _PARTS)
    except (UnicodeEncodeError, TypeError):
        return Unreadable(line)
    if details is not None and upstream is None:
        return None
    return Sighting(
        kind="x509",
        serial=printable(serial or "", _MOST_SHOWN),
        certificate_sha256=digest and printable(digest, _MOST_SHOWN),
        seen_at=_in_utc(at or ""),
    )


def latest(seen: Mapping[Sighting, int]) -> dict[Sighting, int]:
    """Each certificate once with its latest time, and once without one if some lines had none;
    and how often it was seen.
    """
    newest: dict[tuple[Sighting, bool], str | None] = {}
    times: Counter[tuple[Sighting, bool]] = Counter()
    for one, count in seen.items():
        same = (one._replace(seen_at=None), one.seen_at is None)
        newest[same] = max(newest.get(same) or "", one.seen_at or "") or None
        times[same] += count
    return {same[0]._replace(seen_at=at): times[same] for same, at in newest.items()}


def _time_of(line: bytes, now: datetime) -> str | None:
    """When a line of syslog was written."""
    if full := _FULL_TIME.match(line):
        zone = full["zone"].decode().replace("UTC", "Z")
        return _in_utc(f"{full['day'].decode()}T{full['time'].decode()}{zone}")
    if unix := _UNIX_TIME.match(line):
        return _spelled(datetime.fromtimestamp(int(unix[1]), UTC))
    if short := _SHORT_TIME.match(line):
        return _without_year(short[1].decode(), now)
    return None


def _without_year(text: str, now: datetime) -> str | None:
    for year in range(now.year + 1, now.year - _YEARS, -1):
        with suppress(ValueError, OverflowError):
            local = datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S")  # noqa: DTZ007
            at = local.astimezone(UTC)
            if at <= now + _AHEAD:
                return _spelled(at)
    return None


def _in_utc(text: str) -> str | None:
    with suppress(ValueError, OverflowError):
        at = datetime.fromisoformat(text)
        return None if at.tzinfo is None else _spelled(at.astimezone(UTC))
    return None


def _spelled(at: datetime) -> str:
    """Of one length, so that later times sort later."""
    return at.isoformat(timespec="microseconds")


def _word(entry: dict[str, Json], name: str) -> str | None:
    """Raises TypeError, UnicodeEncodeError if it is no text."""
    value = entry.get(name)
    if value in _NOTHING:
        return None
    if not isinstance(value, str):
        raise TypeError(name)
    value.encode()
    return value


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The file's lines; of one without an end only so much as a log line can be."""
    while line := file.readline(MAX_LINE_BYTES):
        yield line

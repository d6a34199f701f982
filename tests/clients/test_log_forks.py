"""A log that shows somebody another tree while nothing can be compared: it is not forgotten."""

import base64
import json
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.formats.merkle import Frontier, consistency_path, inclusion_path
from clients.mysocketctl import log_memory, log_trust
from clients.mysocketctl.api import GatewayApi
from clients.mysocketctl.errors import GatewayRefused, InvalidInput, LogNotTrusted
from clients.mysocketctl.log_trust import LogTrust
from clients.mysocketctl.settings import Settings

PRIVATE = Ed25519PrivateKey.generate()
KEY = LogKey(origin="gateway.test/ca/log", public=PRIVATE.public_key())


class Log:
    """Every tree that begins like the one given, whoever it is shown to."""

    def __init__(self, entries: tuple[LogEntry, ...] = ()) -> None:
        self.entries = entries

    def add(self, certificate: bytes) -> dict[str, Any]:
        entry = LogEntry(kind="ssh", issued_at_ms=1, certificate=certificate)
        self.entries += (entry,)
        index, size = len(self.entries) - 1, len(self.entries)
        hashes = inclusion_path(index, size, self._grown()[1].__getitem__)
        proof = InclusionProof(
            index=index, issued_at_ms=1, hashes=hashes, checkpoint=self.checkpoint()
        )
        return proof.to_json()

    def checkpoint(self) -> str:
        tree, _ = self._grown()
        return Checkpoint(origin=KEY.origin, size=tree.size, root=tree.root).sign(PRIVATE)

    def consistency(self, old: int, new: int) -> dict[str, Any]:
        if new > len(self.entries):
            raise GatewayRefused("no such sizes", status=404, reason="log-size-unknown")
        path = consistency_path(old, new, self._grown()[1].__getitem__)
        return {"hashes": [base64.b64encode(step).decode() for step in path]}

    def _grown(self) -> tuple[Frontier, dict[tuple[int, int], bytes]]:
        return Frontier().grow(entry.leaf_hash() for entry in self.entries)


class Gateway:
    """Shows one log, or is too busy to show that it grew."""

    base = "https://gateway.test"

    def __init__(self) -> None:
        self.log = Log()
        self.is_busy = False

    def get(self, path: str) -> dict[str, Any]:
        where = urlsplit(path)
        if where.path == "/ca/log/key":
            return {"key": str(KEY)}
        if where.path == "/ca/log/checkpoint":
            return {"checkpoint": self.log.checkpoint()}
        if self.is_busy:
            raise GatewayRefused("later", status=503)
        asked = parse_qs(where.query)
        return self.log.consistency(int(asked["from"][0]), int(asked["to"][0]))


class Client:
    """Somebody with a home; every look is a command of its own."""

    def __init__(self, home: Path) -> None:
        self.gateway = Gateway()
        self._settings = Settings(
            api_url=self.gateway.base, ca_file=None, ssh_server=None, home=home
        )

    @property
    def trust(self) -> LogTrust:
        return LogTrust(self._settings, cast("GatewayApi", self.gateway))

    def take(self, certificate: bytes, *, log: Log | None = None) -> None:
        proof = (log or self.gateway.log).add(certificate)
        self.trust.check({"log_proof": proof}, kind="ssh", certificate=certificate)

    def kept(self) -> dict[str, str]:
        return cast("dict[str, str]", json.loads(self.trust.path.read_text()))


@pytest.fixture
def client(tmp_path: Path) -> Client:
    client = Client(tmp_path)
    client.take(b"first")
    return client


@pytest.mark.parametrize("others", [0, 1, 2, 9])
def test_a_fork_is_found_by_the_first_honest_answer(client: Client, others: int) -> None:
    """Whether the true log is by then shorter, as long or longer."""
    fork = Log(client.gateway.log.entries)
    client.gateway.is_busy = True
    client.take(b"hidden", log=fork)
    client.take(b"hidden too", log=fork)
    client.gateway.is_busy = False
    for number in range(others):
        client.gateway.log.add(b"%d" % number)
    for _ in range(2):
        with pytest.raises(LogNotTrusted):
            client.take(b"mine")
        with pytest.raises(LogNotTrusted):
            client.trust.advance()
    assert len(json.loads(client.kept()["unchecked"])) == 2, "the evidence stays"


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_fork_that_is_shown_once_is_proven_for_good(client: Client, *, is_busy: bool) -> None:
    """Both signed checkpoints are in the file, whoever noticed, and however demanding."""
    honest = client.gateway.log
    fork = Log(honest.entries[:-1])
    for certificate in (b"other", b"hidden"):
        fork.add(certificate)
    shown, before = fork.checkpoint(), client.kept()["checkpoint"]
    client.gateway.log, client.gateway.is_busy = fork, is_busy
    with pytest.raises(GatewayRefused if is_busy else LogNotTrusted):
        client.trust.advance()
    assert client.kept()["checkpoint"] == before
    assert json.loads(client.kept()["unchecked"]) == [shown]

    client.gateway.log, client.gateway.is_busy = honest, False
    for number in range(9):
        honest.add(b"%d" % number)
    for _ in range(2):
        with pytest.raises(LogNotTrusted):
            client.trust.advance()
    assert json.loads(client.kept()["unchecked"]) == [shown], "the evidence stays"


def test_a_log_that_shrank_has_said_so_in_writing(client: Client) -> None:
    shown = client.gateway.log.checkpoint()
    client.take(b"second")
    client.gateway.log = Log(client.gateway.log.entries[:1])
    with pytest.raises(LogNotTrusted):
        client.trust.advance()
    assert json.loads(client.kept()["unchecked"]) == [shown]


def test_two_forks_of_one_size_are_two(client: Client) -> None:
    client.gateway.is_busy = True
    for name in (b"one", b"other"):
        client.take(name, log=Log(client.gateway.log.entries))
    client.gateway.is_busy = False
    client.gateway.log.add(b"one")
    with pytest.raises(LogNotTrusted):
        client.trust.advance()


def test_a_log_that_was_busy_and_only_grew_is_trusted_again(client: Client) -> None:
    client.gateway.is_busy = True
    for number in range(5):
        client.take(b"%d" % number)
    assert {"unchecked", "unchecked_since"} <= client.kept().keys()
    client.gateway.is_busy = False
    client.take(b"after")
    assert not {"unchecked", "unchecked_since"} & client.kept().keys()
    assert (seen := client.trust.seen()) is not None
    assert seen.size == 7


def test_the_day_ends_whatever_else_can_be_compared(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy only where it would have to show the fork, and well for everything else."""
    fork = Log(client.gateway.log.entries)
    client.gateway.is_busy = True
    client.take(b"hidden", log=fork)
    client.gateway.is_busy = False
    since = int(client.kept()["unchecked_since"])
    consistency = client.gateway.log.consistency

    def unless_forked(old: int, new: int) -> dict[str, Any]:
        if 2 in {old, new}:
            raise GatewayRefused("later", status=503)
        return consistency(old, new)

    client.gateway.log.consistency = unless_forked  # type: ignore[method-assign]
    client.gateway.log.add(b"another's")
    client.take(b"mine")
    assert client.kept()["unchecked_since"] == str(since)
    monkeypatch.setattr(log_trust.time, "time", lambda: since + 86_401)
    with pytest.raises(LogNotTrusted, match="more than a day"):
        client.take(b"mine too")


def test_what_cannot_be_kept_is_not_taken(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_trust, "MAX_UNCHECKED", 3)
    client.gateway.is_busy = True
    for number in range(3):
        client.take(b"%d" % number)
    with pytest.raises(LogNotTrusted, match="too many"):
        client.take(b"one more")
    assert len(json.loads(client.kept()["unchecked"])) == 3
    client.gateway.is_busy = False
    client.take(b"well again")


def test_what_waits_is_not_compared_twice(client: Client) -> None:
    """A gateway that fails in the middle of many does not begin with all of them again."""
    client.gateway.is_busy = True
    for number in range(4):
        client.take(b"%d" % number)
    client.gateway.is_busy = False
    consistency, answered = client.gateway.log.consistency, []

    def twice(old: int, new: int) -> dict[str, Any]:
        answered.append(new)
        if len(answered) > 2:
            raise GatewayRefused("later", status=429)
        return consistency(old, new)

    client.gateway.log.consistency = twice  # type: ignore[method-assign]
    client.take(b"later")
    assert len(json.loads(client.kept()["unchecked"])) == 3
    assert (seen := client.trust.seen()) is not None
    assert seen.size == 3


@pytest.mark.parametrize("content", ["", "{}", "[1]", "["])
def test_waiting_notes_that_make_no_sense_are_an_error(client: Client, content: str) -> None:
    kept = client.kept() | {"unchecked": content}
    client.trust.path.write_text(json.dumps(kept))
    with pytest.raises(InvalidInput, match="remove it"):
        client.take(b"second")
    assert log_memory.with_unchecked(kept, []).keys() == kept.keys() - {"unchecked"}

"""What this person trusts of the gateway's transparency log: its key, and how far it was checked.

Kept per gateway in ``~/.mysocket/log-<hash>.json``, for an enrolled server in its own directory:
the log's public key from its first use, and the newest checkpoint that was seen. Every later
checkpoint must be signed by that key, and the log must begin with what was there before; so a
gateway cannot take a certificate out of the log, or show different people different logs, without
being noticed by whoever compares. A checkpoint that could not be compared is kept until it was:
otherwise a fork that is only shown while nothing can be compared would leave no trace. One that
contradicts what was there is kept for good: both are signed, and together they prove the fork.
"""

import contextlib
import json
import time
from pathlib import Path
from typing import Literal

from ca.formats.checkpoint import Checkpoint, LogKey, decode_base64
from ca.formats.errors import FormatError
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.formats.merkle import MAX_PROOF_HASHES, verify_consistency
from clients.mysocketctl.api import GatewayApi, Json, text_field
from clients.mysocketctl.errors import (
    GatewayRefused,
    GatewayUnreachable,
    InvalidInput,
    LogNotTrusted,
    LogProofMissing,
    ProtocolViolation,
)
from clients.mysocketctl.files import HomeFiles, locked, write_private
from clients.mysocketctl.log_memory import (
    MAX_UNCHECKED,
    file_name,
    read_kept,
    unchecked,
    with_unchecked,
)
from clients.mysocketctl.settings import Settings

_PASSING = frozenset({429, 500, 502, 503, 504})
"""What an overloaded gateway answers, one in trouble (its database does not answer), or who stands
before one that is away. Borne with for a day only: whoever means harm may answer that as well."""
_UNCHECKED_SECONDS = 86_400
_MOST_DIGITS = 12


class LogTrust:
    """The log of one gateway, as far as this person has checked it."""

    def __init__(
        self, settings: Settings, api: GatewayApi, *, directory: Path | None = None
    ) -> None:
        """Raises InvalidInput for a key in the settings or a kept file that makes no sense."""
        self._api = api
        self._required = settings.require_log_proof
        roots = None if directory else settings.ca_file
        self.path: Path = (directory or HomeFiles(settings.home).tunnel_directory) / file_name(
            api.base, roots
        )
        kept = read_kept(self.path)
        self._note = kept.get("checkpoint")
        self._given = settings.log_key
        where = "MYSOCKET_LOG_KEY" if self._given else str(self.path)
        self._key = _key(self._given or kept.get("key"), where)

    @property
    def key(self) -> LogKey:
        """The log's key: from the settings, the one first seen, or asked for and kept now."""
        if self._key is None:
            asked = _parse(text_field(self._api.get("/ca/log/key"), "key"), "the answer")
            with self._alone():
                # Another process may have been the first to see it.
                kept = read_kept(self.path)
                self._key = _key(kept.get("key"), str(self.path)) or asked
                self._note = kept.get("checkpoint")
                if "key" not in kept:
                    self._write(kept)
        return self._key

    def check(self, answer: Json, *, kind: Literal["ssh", "x509"], certificate: bytes) -> None:
        """Check the ``log_proof`` that came in the answer with a certificate (blob or DER).

        Raises:
            LogProofMissing: there is none, and the person demands one or there always was one.
            LogNotTrusted: it proves nothing, or the log was changed.
        """
        document = answer.get("log_proof") if isinstance(answer, dict) else None
        if document is None:
            if self._required or self._note is not None:
                raise LogProofMissing(
                    "the gateway did not prove that the certificate is logged"
                    + ("" if self._required else self._way_out("keeps no log any more"))
                )
            return
        self.verify(document, kind=kind, certificate=certificate, must=self._required)

    def verify(
        self,
        document: Json,
        *,
        kind: Literal["ssh", "x509"],
        certificate: bytes,
        must: bool = True,
    ) -> tuple[InclusionProof, Checkpoint]:
        """Check a proof for a certificate, and the log it is in.

        Raises:
            LogNotTrusted: one of them does not hold.
            GatewayUnreachable, GatewayRefused: with ``must``, what shows that the log only grew
                cannot be had now; without, that is left for the next time, for a day.
        """
        try:
            proof = InclusionProof.from_json(document)
            entry = LogEntry(kind=kind, issued_at_ms=proof.issued_at_ms, certificate=certificate)
            checkpoint = proof.verify(entry, self.key)
        except FormatError as error:
            raise LogNotTrusted(
                f"the log's proof does not hold: {error}{self._with_another_key}"
            ) from error
        self._go_on(proof.checkpoint, checkpoint, must=must)
        return proof, checkpoint

    def advance(self) -> tuple[Checkpoint | None, Checkpoint]:
        """Check that the log only grew since it was last seen; what it was and what it is.

        Raises:
            LogNotTrusted: it did not, or its checkpoint is not signed by its key.
        """
        # What was kept before the question was asked: others may keep a newer one meanwhile.
        before = self.seen()
        note = text_field(self._api.get("/ca/log/checkpoint"), "checkpoint")
        newest = self._open(note)
        if before is not None and newest.size < before.size:
            self._keep_evidence(note)
            raise LogNotTrusted(
                f"the log shrank: it shows {newest.size} entries and had {before.size}; "
                f"tell its operator, and keep {self.path}"
            )
        self._go_on(note, newest, must=True)
        return before, newest

    def seen(self) -> Checkpoint | None:
        """The newest checkpoint that was checked before. Raises LogNotTrusted."""
        return None if self._note is None else self._open(self._note)

    def _open(self, note: str) -> Checkpoint:
        try:
            return self.key.open(note)
        except FormatError as error:
            raise LogNotTrusted(f"the log's checkpoint: {error}{self._with_another_key}") from error

    def _go_on(self, note: str, now: Checkpoint, *, must: bool) -> None:
        """Keep a checkpoint once it, and each that waits, is known to be of the one log; without
        ``must`` a gateway that is away or overloaded leaves that for the next time.
        """
        try:
            for waiting in self._waiting():
                self._follow(waiting)
            self._follow(note)
        except (GatewayUnreachable, GatewayRefused) as error:
            self._bear(error, now)
            self._leave_unchecked(note)
            if must:
                raise

    def _waiting(self) -> list[str]:
        """Smallest first: then what was compared needs no second look when the rest fails."""
        notes = unchecked(read_kept(self.path), self.path)
        return sorted(notes, key=lambda note: self._open(note).size)

    def _follow(self, note: str) -> None:
        """Keep a checkpoint that is of one log with the newest kept one, the larger of both."""
        now = self._open(note)
        while True:
            before = self.seen()
            if before is not None:
                try:
                    self._compare(*sorted((before, now), key=lambda one: one.size))
                except LogNotTrusted:
                    self._keep_evidence(note)
                    raise
            if self._settle(note, is_newest=before is None or now.size > before.size):
                return

    def _bear(self, error: GatewayUnreachable | GatewayRefused, now: Checkpoint) -> None:
        """Raises LogNotTrusted if that is no trouble that passes: a gateway that has the log it
        showed before can always show this.
        """
        if isinstance(error, GatewayUnreachable) or error.status in _PASSING:
            return
        before = self.seen()
        raise LogNotTrusted(
            "the gateway does not show that its log only grew, from "
            f"{before.size if before else 0} entries seen before, now {now.size} ({error.reason})"
            + self._way_out("was restored from a backup")
        ) from error

    def _compare(self, old: Checkpoint, new: Checkpoint) -> None:
        """Raises LogNotTrusted if the larger tree does not begin with the smaller."""
        if not verify_consistency(
            old=old.size,
            old_root=old.root,
            new=new.size,
            new_root=new.root,
            path=self._path(old.size, new.size),
        ):
            raise LogNotTrusted(
                f"the log was changed: its {new.size} entries do not begin with the "
                f"{old.size} of before; tell its operator, and keep {self.path}"
            )

    def _path(self, old: int, new: int) -> list[bytes]:
        if old in {0, new}:
            return []
        answer = self._api.get(f"/ca/log/consistency?from={old}&to={new}")
        hashes = answer.get("hashes") if isinstance(answer, dict) else None
        if not isinstance(hashes, list) or len(hashes) > MAX_PROOF_HASHES:
            raise ProtocolViolation("the gateway's answer has no hashes")
        try:
            return [decode_base64(str(step)) for step in hashes]
        except FormatError as error:
            raise ProtocolViolation("the gateway's answer has no hashes") from error

    def _settle(self, note: str, *, is_newest: bool) -> bool:
        """Note that ``note`` was compared with the kept checkpoint; if another process kept another
        one meanwhile, take that up instead and say False.
        """
        with self._alone():
            kept = read_kept(self.path)
            if kept.get("checkpoint") != self._note:
                self._note = kept.get("checkpoint")
                return False
            if is_newest:
                self._note = note
            left = [one for one in unchecked(kept, self.path) if one != note]
            after = with_unchecked(kept, left)
            if not left:
                after.pop("unchecked_since", None)
            if is_newest or after != kept:
                self._write(after)
            return True

    def _leave_unchecked(self, note: str) -> None:
        """Raises LogNotTrusted if the log's growth could not be checked for too long, or for too
        many checkpoints to keep.
        """
        with self._alone():
            kept = read_kept(self.path)
            since = kept.get("unchecked_since", "")
            if not (since.isdecimal() and len(since) <= _MOST_DIGITS):
                since = str(int(time.time()))
            waiting = list(dict.fromkeys([*unchecked(kept, self.path), note]))
            if len(waiting) <= MAX_UNCHECKED:
                self._write(with_unchecked(kept, waiting) | {"unchecked_since": since})
        if len(waiting) > MAX_UNCHECKED or int(since) + _UNCHECKED_SECONDS < time.time():
            raise LogNotTrusted(
                "the gateway has not shown for more than a day, or of too many certificates, that "
                "its log only grew; when it is well again, run: mysocketctl ca log consistency"
            )

    def _keep_evidence(self, note: str) -> None:
        """Keep a signed checkpoint beside the one it contradicts, which together prove a fork. It
        waits to be compared like any other: what is not of the one log is refused ever after.
        """
        with self._alone():
            kept = read_kept(self.path)
            waiting = unchecked(kept, self.path)
            if note not in waiting and len(waiting) < MAX_UNCHECKED:
                self._write(with_unchecked(kept, [*waiting, note]))

    def _write(self, kept: dict[str, str]) -> None:
        kept = kept | {"gateway": self._api.base, "key": str(self.key)}
        if self._note is not None:
            kept["checkpoint"] = self._note
        write_private(self.path, json.dumps(kept, indent=1) + "\n")

    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """One process at a time reads and writes the kept file. Raises InvalidInput."""
        return locked(self.path.with_suffix(".lock"))

    def _way_out(self, what: str) -> str:
        """What to do where the operator has done that, and said so."""
        return f" (if its operator says that it {what}, remove {self.path})"

    @property
    def _with_another_key(self) -> str:
        if self._given is not None:
            return " (MYSOCKET_LOG_KEY names the log's key)"
        return self._way_out("has begun a new log")


def _key(text: str | None, where: str) -> LogKey | None:
    return None if text is None else _parse(text, where)


def _parse(text: str, where: str) -> LogKey:
    try:
        return LogKey.parse(text)
    except FormatError as error:
        raise InvalidInput(f"{where}: {error}") from error

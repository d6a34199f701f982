"""What this person trusts of the gateway's transparency log: its key, and how far it was checked.

Kept per gateway in ``~/.mysocket/log-<hash>.json``, for an enrolled server in its own directory:
the log's public key from its first use, and the newest checkpoint that was seen. Every later
checkpoint must be signed by that key, and the log must begin with what was there before; so a
gateway cannot take a certificate out of the log, or show different people different logs, without
being noticed by whoever compares.
"""

import contextlib
import hashlib
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
from clients.mysocketctl.files import HomeFiles, locked, read_small, write_private
from clients.mysocketctl.settings import Settings


def _name(base: str, roots: str | None) -> str:
    """The file's name; an installation with a root of its own is another gateway.

    Otherwise whoever tries the product again on ``gateway.localhost`` had to remove what was kept
    of the one before.
    """
    told_by = hashlib.sha256(base.encode())
    if roots is not None:
        with contextlib.suppress(OSError):
            told_by.update(b"\n" + Path(roots).read_bytes())
    return f"log-{told_by.hexdigest()[:16]}.json"


_PASSING = frozenset({429, 502, 503, 504})
"""What an overloaded gateway answers, or who stands before one that is away."""
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
        self.path: Path = (directory or HomeFiles(settings.home).tunnel_directory) / _name(
            api.base, roots
        )
        kept = _read(self.path)
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
                kept = _read(self.path)
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
        """Keep a checkpoint once it is known to follow from the last; without ``must`` a gateway
        that is away or overloaded leaves that for the next time.
        """
        while True:
            before = self.seen()
            if before is not None:
                try:
                    self._compare(*sorted((before, now), key=lambda one: one.size))
                except (GatewayUnreachable, GatewayRefused) as error:
                    self._bear(error, before, now)
                    if must:
                        raise
                    self._note_unchecked()
                    return
                if now.size <= before.size:
                    return
            if self._replace(note):
                return

    def _bear(
        self, error: GatewayUnreachable | GatewayRefused, before: Checkpoint, now: Checkpoint
    ) -> None:
        """Raises LogNotTrusted if that is no trouble that passes: a gateway that has the log it
        showed before can always show this.
        """
        if isinstance(error, GatewayUnreachable) or error.status in _PASSING:
            return
        raise LogNotTrusted(
            f"the gateway does not show that its log only grew, from {before.size} entries seen "
            f"before, now {now.size} ({error.reason})" + self._way_out("was restored from a backup")
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

    def _replace(self, note: str) -> bool:
        """Keep ``note`` in place of the checkpoint it was compared with; if another process kept
        another one meanwhile, take that up instead and say False.
        """
        with self._alone():
            kept = _read(self.path)
            if kept.get("checkpoint") != self._note:
                self._note = kept.get("checkpoint")
                return False
            self._note = note
            kept.pop("unchecked_since", None)
            self._write(kept)
            return True

    def _note_unchecked(self) -> None:
        """Raises LogNotTrusted if the log's growth could not be checked for too long."""
        with self._alone():
            kept = _read(self.path)
            since = kept.get("unchecked_since", "")
            if not (since.isdecimal() and len(since) <= _MOST_DIGITS):
                since = str(int(time.time()))
                self._write(kept | {"unchecked_since": since})
        if int(since) + _UNCHECKED_SECONDS < time.time():
            raise LogNotTrusted(
                "the gateway has not shown for more than a day that its log only grew; "
                "when it is well again, run: mysocketctl ca log consistency"
            )

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


def _read(path: Path) -> dict[str, str]:
    text = read_small(path)
    if text is None:
        return {}
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        kept = None
    if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
        raise InvalidInput(f"{path} cannot be read; remove it to begin anew")
    return kept


def _key(text: str | None, where: str) -> LogKey | None:
    return None if text is None else _parse(text, where)


def _parse(text: str, where: str) -> LogKey:
    try:
        return LogKey.parse(text)
    except FormatError as error:
        raise InvalidInput(f"{where}: {error}") from error

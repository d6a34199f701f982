"""The backend ``pkcs11``: keys made in a hardware token (or SoftHSM), which they never leave.

The maker's library runs in a process of its own (``ca.signers.token_process``), started at first
use and started anew when it hangs, crashes or loses its token.
"""

import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization

from ca import errors
from ca.ca_keys import CaAlgorithm, CaPublicKey
from ca.signers.base import SIGN_SECONDS, HeldKey, Signer, SignerOptions
from ca.signers.channel import ChannelBroken, exchange, place_in, waiting_room
from ca.signers.remote import RemoteSigner

log = logging.getLogger(__name__)

CREATE_SECONDS = 60.0
"""A smart card takes this long to find the primes of an RSA key."""

_MAX_MESSAGE = 64 * 1024
"""Longest message signed; a certificate is a few kilobytes."""


@dataclass(slots=True)
class _Process:
    """The running process and our end of its socket."""

    process: subprocess.Popen[bytes]
    channel: socket.socket

    def end(self) -> None:
        self.channel.close()
        self.process.kill()
        self.process.wait()


@dataclass(slots=True, kw_only=True)
class TokenProcess:
    """One process for one token; questions wait for each other, none longer than its time.

    Once the token has refused the PIN it is not asked again: tokens count, and lock themselves.
    """

    module: Path
    label: str
    pin_file: Path
    _lock: Lock = field(default_factory=Lock)
    _room: BoundedSemaphore = field(default_factory=waiting_room)
    _running: _Process | None = None
    _pin_refused: bool = False

    def ask(self, question: Mapping[str, str], *, seconds: float, again: bool) -> dict[str, Any]:
        """The answer to a question; one that can be asked ``again`` is, of a fresh process.

        Raises:
            SignerUnavailableError: no answer in time, or the token is out of reach.
            KeyMissingError: the token does not have the key.
            IssuanceError: the token cannot do that.
        """
        with place_in(self._room):
            return self._ask_in_turn(question, seconds, again=again)

    def _ask_in_turn(
        self, question: Mapping[str, str], seconds: float, *, again: bool
    ) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            raise errors.SignerUnavailableError(f"the token {self.label} is busy")
        try:
            used = self._running is not None
            try:
                return self._ask(question, deadline)
            except errors.SignerUnavailableError:
                # A process that was idle may have lost its token since; a fresh one knows.
                if not (again and used) or time.monotonic() >= deadline:
                    raise
                return self._ask(question, deadline)
        finally:
            self._lock.release()

    def close(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    def _ask(self, question: Mapping[str, str], deadline: float) -> dict[str, Any]:
        if self._pin_refused:
            raise errors.SignerUnavailableError(
                f"the token {self.label} refused its PIN; mend pkcs11_pin_file and start again"
            )
        running = self._running = self._running or self._start()
        try:
            left = max(deadline - time.monotonic(), 0.001)
            raw = exchange(running.channel, json.dumps(question).encode("ascii"), seconds=left)
            answer = json.loads(raw)
        except (ChannelBroken, ValueError) as error:
            self._end()
            raise errors.SignerUnavailableError(
                f"the token {self.label} does not answer: {error}"
            ) from error
        self._raise_failure(answer)
        return dict(answer)

    def _raise_failure(self, answer: Mapping[str, str]) -> None:
        kind, message = answer.get("error"), answer.get("message", "")
        if kind is None:
            return
        if kind == "missing":
            raise errors.KeyMissingError(message)
        if kind == "unsuitable":
            raise errors.IssuanceError(message)
        self._end()
        self._pin_refused = kind == "pin-refused"
        log.error("the token %s does not serve: %s %s", self.label, kind, message)
        raise errors.SignerUnavailableError(f"the token {self.label} does not serve: {message}")

    def _start(self) -> _Process:
        ours, theirs = socket.socketpair()
        with theirs:
            # Not from the directory the gateway happens to run in (-P).
            command = [sys.executable, "-P", "-m", "ca.signers.token_process"]
            process = subprocess.Popen(
                [*command, str(self.module), self.label, str(self.pin_file)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # A Ctrl-C at the gateway's terminal is for the gateway, which ends this one.
                start_new_session=True,
            )
        return _Process(process, ours)

    def _end(self) -> None:
        if self._running is not None:
            self._running.end()
            self._running = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBackend:
    """The keys of one token."""

    process: TokenProcess
    seconds: float = SIGN_SECONDS

    def create(
        self,
        name: str,
        algorithm: CaAlgorithm,
        *,
        taken: Collection[str] = (),  # noqa: ARG002 - the token makes its keys itself
    ) -> tuple[Signer, HeldKey]:
        """Have the token make a key pair.

        Raises:
            IssuanceError: the token is out of reach, or makes no such keys.
        """
        question = {"op": "create", "name": name, "algorithm": algorithm.value}
        answer = self.process.ask(question, seconds=CREATE_SECONDS, again=False)
        held = HeldKey(name=name, reference=answer["reference"])
        return self._signer(held, answer), held

    def load(self, held: HeldKey) -> Signer:
        """The signer of a key in the token.

        Raises:
            KeyMissingError: the token does not have it.
            IssuanceError: the token is out of reach, or the key could leave it.
        """
        question = {"op": "load", "reference": held.reference}
        return self._signer(held, self.process.ask(question, seconds=self.seconds, again=True))

    def give_back(self, held: HeldKey) -> None:
        """Remove what ``create`` made.

        Raises:
            IssuanceError: the token is out of reach.
        """
        self.destroy(held)

    def destroy(self, held: HeldKey) -> None:
        """Remove both halves from the token.

        Raises:
            IssuanceError: the token is out of reach.
        """
        question = {"op": "destroy", "reference": held.reference}
        self.process.ask(question, seconds=self.seconds, again=True)

    def close(self) -> None:
        """End the token's process."""
        self.process.close()

    def sign(self, reference: str, data: bytes, digest: hashes.HashAlgorithm | None) -> bytes:
        """Let the token sign; the answer is in ``cryptography``'s form.

        Raises:
            IssuanceError: the token is out of reach or does not sign.
        """
        if len(data) > _MAX_MESSAGE:
            raise errors.IssuanceError("this is too long for a certificate")
        question = {
            "op": "sign",
            "reference": reference,
            "hash": "" if digest is None else digest.name,
            "data": data.hex(),
        }
        answer = self.process.ask(question, seconds=self.seconds, again=True)
        return bytes.fromhex(answer["signature"])

    def _signer(self, held: HeldKey, answer: Mapping[str, str]) -> Signer:
        key = serialization.load_der_public_key(bytes.fromhex(answer["public"]))
        if not isinstance(key, CaPublicKey):
            raise errors.KeyStoreError(f"the token's key for {held.name} is of a kind no CA has")
        return RemoteSigner(name=held.name, public_key=key, sign=partial(self.sign, held.reference))


def token_backend(options: SignerOptions) -> TokenBackend:
    """The backend under these options.

    Raises:
        KeyStoreError: they do not say which token.
    """
    module, pin_file = options.pkcs11_module, options.pkcs11_pin_file
    if module is None or pin_file is None or not options.pkcs11_token:
        raise errors.KeyStoreError("pkcs11 needs pkcs11_module, pkcs11_token and pkcs11_pin_file")
    return TokenBackend(
        process=TokenProcess(module=module, label=options.pkcs11_token, pin_file=pin_file)
    )

"""The backend ``ssh-agent``: keys an operator added to an ssh-agent (draft-ietf-sshm-ssh-agent).

An agent makes no keys. An operator adds keys whose comment says which CA they are meant for, and
``create`` takes one of them that no CA has yet. The comment is ``mysocket`` and the CA's id or
purpose: ``mysocket ssh-host``, ``mysocket ssh-user`` (any socket's), ``mysocket ssh-user:<id>``.
"""

import secrets
import socket
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from ca import errors
from ca.ca_keys import CaAlgorithm, CaPublicKey, algorithm_of
from ca.formats import wire
from ca.formats.errors import FormatError
from ca.formats.ssh_keys import KeyBlob, parse_key_blob
from ca.signers.base import SIGN_SECONDS, HeldKey, Signer, SignerOptions
from ca.signers.channel import ChannelBroken, exchange, place_in, waiting_room
from ca.signers.remote import RemoteSigner

SUCCESS = 6
REQUEST_IDENTITIES = 11
IDENTITIES_ANSWER = 12
SIGN_REQUEST = 13
SIGN_RESPONSE = 14
REMOVE_IDENTITY = 18

_MAX_KEYS = 2048
"""As many as OpenSSH's own client reads from an agent."""

_RSA_FLAGS = {"sha256": (2, b"rsa-sha2-256"), "sha512": (4, b"rsa-sha2-512")}
"""SSH_AGENT_RSA_SHA2_256 and _512, and the algorithm the answer names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentKeys:
    """The keys of one agent; a connection for each question, so any thread may ask."""

    path: Path
    seconds: float = SIGN_SECONDS
    _room: BoundedSemaphore = field(default_factory=waiting_room, repr=False, compare=False)

    def create(
        self, name: str, algorithm: CaAlgorithm, *, taken: Collection[str] = ()
    ) -> tuple[Signer, HeldKey]:
        """A key of the agent's that was added for this CA or its purpose and is in no use.

        Raises:
            IssuanceError: the agent is out of reach, or holds no such key.
        """
        comments = (f"mysocket {name}", f"mysocket {name.partition(':')[0]}")
        fitting = [
            (comments.index(comment), key)
            for key, comment in self._identities()
            if comment in comments and key.fingerprint not in taken and _algorithm(key) is algorithm
        ]
        if not fitting:
            raise errors.IssuanceError(
                f"the agent has no unused {algorithm} key with the comment {comments[1]!r}"
            )
        # One that was added for this very CA goes before one for any of its purpose. Which one of
        # those is left to chance: who chooses at the same time seldom chooses the same.
        best = min(rank for rank, _ in fitting)
        chosen = secrets.choice([key for rank, key in fitting if rank == best])
        return self._signer(name, chosen), HeldKey(name=name, reference=chosen.fingerprint)

    def load(self, held: HeldKey) -> Signer:
        """The signer of a key the agent still has.

        Raises:
            KeyMissingError: the agent does not have it.
            IssuanceError: the agent is out of reach.
        """
        found = self._find(held)
        if found is None:
            raise errors.KeyMissingError(f"the agent has no key {held.reference} ({held.name})")
        return self._signer(held.name, found)

    def give_back(self, held: HeldKey) -> None:
        """Nothing: the operator's key waits for another CA, or has one already."""

    def destroy(self, held: HeldKey) -> None:
        """Make the agent forget the key; the operator's file is the operator's to remove.

        Raises:
            IssuanceError: the agent is out of reach, or keeps the key.
        """
        found = self._find(held)
        if found is None:
            return
        answer = self._ask(wire.byte(REMOVE_IDENTITY) + wire.string(found.blob))
        if answer != wire.byte(SUCCESS):
            raise errors.SignerUnavailableError(f"the agent keeps the key of {held.name}")

    def close(self) -> None:
        """Nothing is open: each question has a connection of its own."""

    def sign(self, key: KeyBlob, data: bytes, digest: hashes.HashAlgorithm | None) -> bytes:
        """Let the agent sign; the answer is in ``cryptography``'s form.

        Raises:
            IssuanceError: the agent is out of reach, refuses, or cannot sign with this hash.
        """
        flags, algorithm = _asked(key, digest)
        question = wire.byte(SIGN_REQUEST) + wire.string(key.blob) + wire.string(data)
        answer = self._ask(question + wire.uint32(flags))
        try:
            return _read_signature(key, algorithm, answer)
        except FormatError as error:
            raise errors.SignerUnavailableError("the agent did not sign") from error

    def _signer(self, name: str, key: KeyBlob) -> Signer:
        return RemoteSigner(name=name, public_key=_ca_key(key), sign=partial(self.sign, key))

    def _find(self, held: HeldKey) -> KeyBlob | None:
        keys = (key for key, _ in self._identities())
        return next((key for key in keys if key.fingerprint == held.reference), None)

    def _identities(self) -> Iterator[tuple[KeyBlob, str]]:
        """Plain keys and their comments; what else an agent may hold is passed over."""
        answer = self._ask(wire.byte(REQUEST_IDENTITIES))
        try:
            pairs = _read_identities(answer)
        except FormatError as error:
            raise errors.SignerUnavailableError("the agent lists no keys") from error
        for blob, comment in pairs:
            try:
                key = parse_key_blob(blob)
            except FormatError:
                continue
            yield key, comment.decode("utf-8", "replace")

    def _ask(self, question: bytes) -> bytes:
        with place_in(self._room), socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(self.seconds)
            try:
                channel.connect(str(self.path))
                return exchange(channel, question, seconds=self.seconds)
            except (OSError, ChannelBroken) as error:
                raise errors.SignerUnavailableError(
                    f"the agent at {self.path} does not answer"
                ) from error


def agent_keys(options: SignerOptions) -> AgentKeys:
    """The backend under these options.

    Raises:
        KeyStoreError: they do not say where the agent is.
    """
    if options.agent_socket is None:
        raise errors.KeyStoreError("ssh-agent needs agent_socket")
    return AgentKeys(path=options.agent_socket)


def _read_identities(answer: bytes) -> list[tuple[bytes, bytes]]:
    with wire.Reader(answer) as reader:
        kind, count = reader.byte(), reader.uint32()
        if kind != IDENTITIES_ANSWER or count > _MAX_KEYS:
            raise FormatError("no list of keys")
        return [(reader.string(), reader.string()) for _ in range(count)]


def _read_signature(key: KeyBlob, algorithm: bytes, answer: bytes) -> bytes:
    with wire.Reader(answer) as reader:
        if reader.byte() != SIGN_RESPONSE:
            raise FormatError("no signature")
        blob = reader.string()
    with wire.Reader(blob) as reader:
        if reader.string() != algorithm:
            raise FormatError("a signature of another kind")
        signature = reader.string()
    if isinstance(key.key, ec.EllipticCurvePublicKey):
        with wire.Reader(signature) as reader:
            return encode_dss_signature(reader.mpint(), reader.mpint())
    if isinstance(key.key, rsa.RSAPublicKey):
        # RFC 4253 §6.6 lets a sender leave out leading zeros; RFC 8017 does not.
        return signature.rjust((key.key.key_size + 7) // 8, b"\0")
    return signature


def _asked(key: KeyBlob, digest: hashes.HashAlgorithm | None) -> tuple[int, bytes]:
    """Flags of the question, and the algorithm its answer must name."""
    name = "" if digest is None else digest.name
    if isinstance(key.key, rsa.RSAPublicKey) and name in _RSA_FLAGS:
        return _RSA_FLAGS[name]
    by_agent = {
        "ssh-ed25519": "",
        "ecdsa-sha2-nistp256": "sha256",
        "ecdsa-sha2-nistp384": "sha384",
    }
    if by_agent.get(key.key_type) != name:
        raise errors.IssuanceError(f"an agent does not sign with {key.key_type} and {name}")
    return 0, key.key_type.encode("ascii")


def _algorithm(key: KeyBlob) -> CaAlgorithm | None:
    return None if key.is_security_key else algorithm_of(_ca_key(key))


def _ca_key(key: KeyBlob) -> CaPublicKey:
    if key.is_security_key or not isinstance(key.key, CaPublicKey):
        raise errors.KeyStoreError("no CA has a key of this kind")
    return key.key

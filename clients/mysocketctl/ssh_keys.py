"""``client ssh-keysign``: a key certified for one socket, on disk and in the agent.

What is on disk afterwards, below ``~/.ssh`` and always 0600:

    a key of ours           <dns>       and <dns>-cert.pub; the agent has both as well, if one runs
    … in the agent only     <dns>.pub   and <dns>-cert.pub
    a person's own key      <dns>.pub   and <dns>-cert.pub; the key itself stays where it is

``ssh`` is content with ``IdentityFile ~/.ssh/<dns>`` in all three: where the private half is not
there it reads the public one and asks the agent.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from ca.formats.errors import FormatError
from ca.formats.ssh_certificate import USER, SshCertificate, parse_certificate_line
from ca.formats.ssh_keys import blob_of
from clients.mysocketctl.agent import running_agent
from clients.mysocketctl.api import Json, text_field
from clients.mysocketctl.certificates import ClientIdentity, Post
from clients.mysocketctl.errors import AgentFailed, ProtocolViolation
from clients.mysocketctl.files import CERTIFICATE_MARGIN, read_small, remove, write_private
from clients.mysocketctl.key_proofs import FreshKey, OwnKey, ProvableKey, prove


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChoice:
    """Which key is certified, and where it is kept."""

    own: Path | None = None
    """A person's own key, see ``OwnKey``; else a new one is made."""
    agent_only: bool = False
    """Keep the new key's private half off the disk, where an agent takes it."""
    confirm: bool = False
    """Have the agent ask before each use; then there is no private half on the disk either."""

    @property
    def off_disk(self) -> bool:
        """Whether the private half belongs into the agent alone."""
        return self.agent_only or self.confirm


_FRESH = KeyChoice()


def _warn(line: str) -> None:
    click.echo(f"mysocketctl: {line}", err=True)


def parse_ssh_certificate(line: str) -> SshCertificate:
    """An SSH user certificate line of the gateway's. Raises ProtocolViolation."""
    try:
        certificate = parse_certificate_line(line.strip())
    except FormatError as error:
        raise ProtocolViolation("the gateway's answer is no SSH certificate") from error
    if certificate.kind != USER:
        raise ProtocolViolation("the gateway's answer is no SSH certificate of a person")
    return certificate


class SshIdentity:
    """Key and certificate for one socket under ``~/.ssh`` and in the agent."""

    def __init__(
        self,
        identity: ClientIdentity,
        choice: KeyChoice = _FRESH,
        *,
        warn: Callable[[str], None] = _warn,
    ) -> None:
        self._identity, self._choice, self._warn = identity, choice, warn
        files, name = identity.files, identity.dns_name
        self.key_path = files.ssh_key(name)
        self.public_path = files.ssh_public_key(name)
        self.certificate_path = files.ssh_certificate(name)

    def sign(self, *, fresh: bool = False) -> int:
        """Make sure of a certificate good for half a minute; its end in Unix seconds.

        Raises:
            InvalidInput: the person's own key cannot be used.
            KeyProofFailed: its holder did not sign the gateway's challenge.
            AgentFailed: no agent takes a key that it is to ask for before each use.
        """
        own = OwnKey(self._choice.own) if self._choice.own is not None else None
        with self._identity.alone():
            old = self._read_certificate()
            if old is not None and not fresh and self._serves(old, own):
                if self._identity.still_counts(old):
                    return old.valid_before
                self._warn("the kept certificate no longer counts; asking for another")
            if own is not None:
                certificate = self._certify(own)
                self._keep_public(own, certificate)
            else:
                key = FreshKey()
                certificate = self._certify(key)
                self._keep_fresh(key, certificate)
            if old is not None and old.blob != certificate.blob:
                self._drop_from_agent(old)
            return certificate.valid_before

    def forget(self) -> bool:
        """Remove key and certificate from disk and agent; whether there were any."""
        old = self._read_certificate()
        if old is not None:
            self._drop_from_agent(old)
        paths = (self.key_path, self.public_path, self.certificate_path)
        return sum(remove(path) for path in paths) > 0

    def _certify(self, key: ProvableKey) -> SshCertificate:
        dns_name = self._identity.dns_name

        def exchange(post: Post) -> Json:
            nonce = text_field(post("ssh-challenge", {}), "nonce")
            proof = prove(key, nonce, dns_name)
            return post("ssh", {"ssh_public_key": key.public.line, "nonce": nonce, "proof": proof})

        _token, answer = self._identity.converse(exchange)
        certificate = parse_ssh_certificate(text_field(answer, "signed_ssh_cert"))
        if certificate.key_blob.blob != key.public.blob:
            raise ProtocolViolation("the gateway certified another key than was asked for")
        self._identity.check_logged(answer, kind="ssh", certificate=certificate.blob)
        return certificate

    def _read_certificate(self) -> SshCertificate | None:
        """The kept certificate, good or not."""
        line = read_small(self.certificate_path)
        with suppress(ProtocolViolation):
            return parse_ssh_certificate(line) if line is not None else None
        return None

    def _serves(self, kept: SshCertificate, own: OwnKey | None) -> bool:
        """Whether a kept certificate does for what is wanted now."""
        if kept.valid_before - CERTIFICATE_MARGIN <= time.time():
            return False
        if own is not None:
            return kept.key_blob.blob == own.public.blob
        if self._choice.off_disk:
            return not self.key_path.exists() and self._agent_has(kept)
        return _public_blob(self.key_path) == kept.key_blob.blob

    def _agent_has(self, kept: SshCertificate) -> bool:
        with suppress(AgentFailed), running_agent() as agent:
            wanted = (kept.blob, self._comment.encode())
            return any((one.blob, one.comment) == wanted for one in agent.identities())
        return False

    @property
    def _comment(self) -> str:
        """What marks keys of ours in the agent, and those it has to ask for."""
        mark = f"mysocket {self._identity.dns_name}"
        return f"{mark} confirm" if self._choice.confirm else mark

    def _keep_fresh(self, key: FreshKey, certificate: SshCertificate) -> None:
        if self._choice.off_disk:
            try:
                self._add_to_agent(key, certificate)
            except AgentFailed as error:
                if self._choice.confirm:
                    raise
                self._warn(f"{error}; the key is in {self.key_path}")
            else:
                self._keep_public(key, certificate)
                return
        write_private(self.key_path, _private_file(key.private))
        write_private(self.certificate_path, certificate.line + "\n")
        remove(self.public_path)
        if not self._choice.off_disk:
            with suppress(AgentFailed):  # the files serve as well
                self._add_to_agent(key, certificate)

    def _keep_public(self, key: ProvableKey, certificate: SshCertificate) -> None:
        """Leave no private half of ours behind: it would not fit the new certificate."""
        write_private(self.public_path, key.public.line + "\n")
        write_private(self.certificate_path, certificate.line + "\n")
        remove(self.key_path)

    def _add_to_agent(self, key: FreshKey, certificate: SshCertificate) -> None:
        """Hand key and certificate over until its end, and see that both are there."""
        seconds = int(certificate.valid_before - time.time())
        if seconds <= 0:
            raise AgentFailed("by this machine's clock the certificate has ended")
        with running_agent() as agent:
            agent.keep(
                key.private,
                certificate=certificate.blob,
                comment=self._comment,
                seconds=seconds,
                confirm=self._choice.confirm,
            )

    def _drop_from_agent(self, old: SshCertificate) -> None:
        """Take out what we put in: expired keys would use up a server's ``MaxAuthTries``."""
        blobs, mark = {old.blob, old.key_blob.blob}, f"mysocket {self._identity.dns_name}".encode()
        with suppress(AgentFailed), running_agent() as agent:
            for one in agent.identities():
                if one.blob in blobs and one.comment.startswith(mark):
                    agent.remove(one.blob)


def _private_file(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _public_blob(path: Path) -> bytes | None:
    """The public half of a private key file of ours, in wire format."""
    text = read_small(path)
    if text is None:
        return None
    try:
        key = load_ssh_private_key(text.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return blob_of(key.public_key()) if isinstance(key, ec.EllipticCurvePrivateKey) else None

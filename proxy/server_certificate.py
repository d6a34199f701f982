"""The edge's own TLS certificate: the key is made here and stays here, the chain is the gateway's.

Key and chain are kept in one file, so that a crash leaves the old pair or the new one. Each
renewal takes a new key. A gateway that is away costs nothing: the last pair goes on.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from proxy.backoff import Backoff
from proxy.clock import Clock
from proxy.errors import GatewayUnavailable
from proxy.files import write_private
from proxy.gateway import post

CERTIFICATE_PATH = "/internal/server-certificate"
FILE_NAME = "server.pem"
LONGEST_SLEEP = 3600.0
"""Seconds between two looks at the clock, which may jump."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAndChain:
    """A private key and the certificates that vouch for it, leaf first, both PEM."""

    key_pem: str = field(repr=False)
    chain_pem: str
    names: frozenset[str]
    """DNS names of the leaf."""
    issuer: str
    """Serial number of the issuing CA, hex; empty if the chain has none."""
    renew_at: datetime
    """Two thirds through the leaf's life."""

    @classmethod
    def read(cls, key_pem: str, chain_pem: str) -> Self:
        """Check that the two belong together.

        Raises:
            ValueError: unreadable PEM, no certificate, or one for another key.
        """
        key = load_pem_private_key(key_pem.encode("ascii"), password=None)
        leaf, *above = x509.load_pem_x509_certificates(chain_pem.encode("ascii"))
        if leaf.public_key() != key.public_key():
            raise ValueError("the certificate is for another key")
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        return cls(
            key_pem=key_pem,
            chain_pem=chain_pem,
            names=_dns_names(leaf),
            issuer=format(above[0].serial_number, "x") if above else "",
            renew_at=leaf.not_valid_before_utc + life * 2 / 3,
        )


def _dns_names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound as error:
        raise ValueError("the certificate names no host") from error
    return frozenset(extension.value.get_values_for_type(x509.DNSName))


def _serials(pem: str) -> list[str]:
    """The serial numbers of certificates, hex; none if there are none to be read."""
    try:
        found = x509.load_pem_x509_certificates(pem.encode("ascii"))
    except ValueError:
        return []
    return [format(one.serial_number, "x") for one in found]


def load_pair(state_dir: Path) -> KeyAndChain | None:
    """The pair an earlier run kept; ``None`` if there is none, or it is damaged."""
    try:
        text = (state_dir / FILE_NAME).read_text("ascii")
        key_pem, mark, rest = text.partition("-----BEGIN CERTIFICATE-----")
        return KeyAndChain.read(key_pem, mark + rest)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("the server certificate on disk is not used: %s", error)
        return None


def new_request(names: Sequence[str]) -> tuple[str, str]:
    """A new P-256 key and a request for it (RFC 2986), both PEM; the gateway decides the names."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder(subject)
    request = builder.add_extension(alternative, critical=False).sign(key, hashes.SHA256())
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key_pem.decode("ascii"), request.public_bytes(Encoding.PEM).decode("ascii")


class CertificateKeeper:
    """Has a certificate, and a new one in time."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        state_dir: Path,
        names: Sequence[str],
        clock: Clock,
        on_renewal: Callable[[KeyAndChain], None],
    ) -> None:
        """``names`` must be in the certificate; ``on_renewal`` is told each new pair."""
        self._client = client
        self._state_dir = state_dir
        self._names = tuple(names)
        self._clock = clock
        self._on_renewal = on_renewal
        self._backoff = Backoff(last=60.0)
        self._wake = asyncio.Event()
        self._client_ca = ""
        self._signs = self._asked_for = ""
        self.pair = load_pair(state_dir)
        """The pair in use: the last good one."""

    def follow(self, client_ca: str) -> None:
        """The issuing CAs that are trusted, PEM: the first is the one that signs. If this edge's
        certificate is of another one, that may be withdrawn any moment.
        """
        if client_ca == self._client_ca:
            return
        trusted = _serials(client_ca)
        self._client_ca, self._signs = client_ca, next(iter(trusted), "")
        if self.pair is not None and self.pair.issuer not in trusted:
            self._asked_for = ""  # whatever signed it then, it is trusted no more
        self._wake.set()

    async def run(self) -> None:
        """Renew when two thirds of the life are over, or another CA signs, until cancelled."""
        while True:
            self._wake.clear()
            wait = self._seconds_left()
            if wait > 0:
                await self._sleep(min(wait, LONGEST_SLEEP))
                continue
            try:
                await self.renew()
                self._backoff.reset()
            except (GatewayUnavailable, OSError) as error:
                log.info("no new server certificate yet: %s", error)
                await asyncio.sleep(self._backoff.next())

    def _seconds_left(self) -> float:
        if self.pair is None or not self.pair.names.issuperset(self._names):
            return 0.0
        # Once for each CA: a gateway of an earlier version names another one first.
        if self._signs not in {"", self.pair.issuer, self._asked_for} and self.pair.issuer:
            return 0.0
        return (self.pair.renew_at - self._clock()).total_seconds()

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def renew(self) -> None:
        """Ask for a certificate for a new key, keep both, and tell.

        Raises:
            GatewayUnavailable: no certificate, or one that is not for this key.
            OSError: it cannot be kept.
        """
        signs = self._signs
        key_pem, request = await asyncio.to_thread(new_request, self._names)
        answer = await post(self._client, CERTIFICATE_PATH, {"csr": request})
        pair = _read_answer(key_pem, answer)
        if not pair.names.issuperset(self._names):
            raise GatewayUnavailable("malformed", "the server certificate lacks a name")
        content = (pair.key_pem + pair.chain_pem).encode("ascii")
        await asyncio.to_thread(write_private, self._state_dir / FILE_NAME, content)
        self.pair, self._asked_for = pair, signs
        self._on_renewal(pair)


def _read_answer(key_pem: str, answer: dict[str, Any]) -> KeyAndChain:
    try:
        return KeyAndChain.read(key_pem, str(answer["certificate_chain"]))
    except (KeyError, ValueError) as error:
        raise GatewayUnavailable("malformed", f"no usable server certificate: {error}") from error

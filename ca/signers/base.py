"""The contract of a signer: something that signs with one CA key and may not have it in memory.

A signer

* has one key for its whole life: ``public_key`` never changes;
* offers ``signing_key``, an object with the interface of ``cryptography``'s private keys. Only its
  ``sign`` and ``public_key`` are used. A key in a token or an agent is a subclass of the matching
  abstract class (``Ed25519PrivateKey``, ``EllipticCurvePrivateKey``, ``RSAPrivateKey``) whose
  ``sign`` goes there and whose ``private_bytes`` raises;
* raises ``ca.errors.IssuanceError`` from ``sign`` when its key is out of reach, and never blocks
  for longer than ten seconds;
* may be called from several threads at once;
* says nothing about what may be signed: ``ca.ssh`` and ``ca.x509`` decide that, from specs.

A backend is where such keys live. It

* makes a key of a wanted algorithm (``create``) and finds it again, also in another process, by the
  ``HeldKey`` that ``create`` returned (``load``);
* keeps no private half anywhere but in the place it stands for, and puts nothing secret into the
  ``reference`` of a ``HeldKey``;
* takes keys out of that place for good (``destroy``), as far as the place lets it, and those that
  no CA came to have (``give_back``).

``tests/contracts/test_signer.py`` is the suite every signer and backend passes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from ca.ca_keys import CaAlgorithm, CaPrivateKey, CaPublicKey
from ca.keybox import KeyBox

SIGN_SECONDS = 10.0
"""Longest a signature may take before the signer counts as out of reach."""


@runtime_checkable
class Signer(Protocol):
    """See the module: its docstring is the contract."""

    @property
    def name(self) -> str:
        """What logs and operators call this key; never a secret."""
        ...

    @property
    def public_key(self) -> CaPublicKey:
        """The public half."""
        ...

    @property
    def signing_key(self) -> CaPrivateKey:
        """Something to sign with."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """What a backend needs to find one of its keys again; kept in the database."""

    name: str
    """What the key was made for, e.g. ``ssh-host``."""
    reference: str = ""
    """Where it is in a token or agent; no secret."""
    sealed: bytes | None = field(default=None, repr=False)
    """The private half itself, sealed, for the backend that keeps it nowhere else."""


@runtime_checkable
class SignerBackend(Protocol):
    """A place where CA keys live. See the module."""

    def create(
        self, name: str, algorithm: CaAlgorithm, *, taken: Collection[str] = ()
    ) -> tuple[Signer, HeldKey]:
        """A key that no CA has yet, for the CA ``name``.

        Args:
            name: Which CA it is for; ``ssh-user:…`` and the like.
            algorithm: Its kind.
            taken: References of this backend that are in use; a backend that makes its keys
                itself need not look at them.

        Raises:
            IssuanceError: the place is out of reach, or cannot give such a key.
        """
        ...

    def load(self, held: HeldKey) -> Signer:
        """The signer of a key that ``create`` made.

        Raises:
            KeyStoreError: there is no such key any more, or it does not open.
            IssuanceError: the place is out of reach.
        """
        ...

    def give_back(self, held: HeldKey) -> None:
        """Undo ``create``: no CA came to have the key.

        A key that was not made but chosen stays, for another CA may have chosen it meanwhile.

        Raises:
            IssuanceError: the place is out of reach.
        """
        ...

    def destroy(self, held: HeldKey) -> None:
        """Make the key unusable; not an error if it is gone already.

        Raises:
            IssuanceError: the place is out of reach.
        """
        ...

    def close(self) -> None:
        """Let go of connections and processes; a later question takes them up again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignerOptions:
    """What an operator said about the places keys may live in; each backend takes its part."""

    box: KeyBox
    """Seals what is kept in the database."""
    pkcs11_module: Path | None = None
    """Library of the token's maker."""
    pkcs11_token: str = ""
    """Label of the token."""
    pkcs11_pin_file: Path | None = None
    """File with the user PIN."""
    agent_socket: Path | None = None
    """Unix socket of the ssh-agent."""
    extra: Mapping[str, str] = field(default_factory=dict)
    """For backends that an installed package offers."""

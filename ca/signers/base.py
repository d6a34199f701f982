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

``tests/contracts/test_signer.py`` is the suite every signer passes.
"""

from typing import Protocol, runtime_checkable

from ca.ca_keys import CaPrivateKey, CaPublicKey


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

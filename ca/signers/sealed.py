"""The backend ``file``: keys made in this process and kept sealed in their generation's row.

Sealed bytes open for the CA they were made for and no other.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from ca.ca_keys import CaAlgorithm, CaPrivateKey, generate_ca_key
from ca.errors import KeyMissingError
from ca.keybox import KeyBox, open_private_key, seal_private_key
from ca.signers.base import HeldKey, Signer, SignerOptions
from ca.signers.memory import MemorySigner

_PURPOSE = "ca-generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedKeys:
    """Makes keys and seals them; keeps nothing itself."""

    box: KeyBox = field(repr=False)

    def create(
        self,
        name: str,
        algorithm: CaAlgorithm,
        *,
        taken: Collection[str] = (),  # noqa: ARG002 - it makes its keys itself
    ) -> tuple[Signer, HeldKey]:
        """A fresh key, sealed for ``name``."""
        return self.adopt(name, generate_ca_key(algorithm))

    def adopt(self, name: str, key: CaPrivateKey) -> tuple[Signer, HeldKey]:
        """Seal a key that is there already.

        Raises:
            SubjectKeyError: it is too weak for a CA.
        """
        signer = MemorySigner(name=name, signing_key=key)
        sealed = seal_private_key(self.box, key, purpose=_PURPOSE, object_id=name)
        return signer, HeldKey(name=name, sealed=sealed)

    def load(self, held: HeldKey) -> Signer:
        """Open it.

        Raises:
            KeyMissingError: nothing is kept.
            SealBrokenError: another master key, or sealed for another CA.
        """
        if held.sealed is None:
            raise KeyMissingError(f"the key of {held.name} is not kept any more")
        key = open_private_key(self.box, held.sealed, purpose=_PURPOSE, object_id=held.name)
        return MemorySigner(name=held.name, signing_key=key)

    def give_back(self, held: HeldKey) -> None:
        """Nothing: it was kept nowhere."""

    def destroy(self, held: HeldKey) -> None:
        """Nothing: dropping the sealed bytes is the end of the key."""

    def close(self) -> None:
        """Nothing is open."""


def sealed_keys(options: SignerOptions) -> SealedKeys:
    """The backend under these options."""
    return SealedKeys(box=options.box)

"""A signer whose key is in this process: opened from a sealed row, or just made."""

from dataclasses import dataclass, field

from ca.ca_keys import CaPrivateKey, CaPublicKey, check_ca_key


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySigner:
    """Signs with a key it holds. Keep it no longer than needed."""

    name: str
    signing_key: CaPrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        check_ca_key(self.signing_key.public_key())

    @property
    def public_key(self) -> CaPublicKey:
        return self.signing_key.public_key()

"""Where the private keys of the CAs live; the contracts are in ``ca.signers.base``."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ca.signers.base import HeldKey, Signer, SignerBackend, SignerOptions
from ca.signers.file import FileSigner
from ca.signers.memory import MemorySigner
from ca.signers.sealed import SealedKeys, sealed_keys
from ca.signers.ssh_agent import agent_keys
from ca.signers.token import token_backend

BackendFactory = Callable[[SignerOptions], SignerBackend]

ENTRY_POINTS = "mysocket.signers"
"""Group of entry points under which installed packages offer a ``BackendFactory``."""

BUILT_IN: Mapping[str, BackendFactory] = MappingProxyType(
    {"file": sealed_keys, "pkcs11": token_backend, "ssh-agent": agent_keys}
)
"""The backends that come with the product, by the name a setting uses."""

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "BackendFactory",
    "FileSigner",
    "HeldKey",
    "MemorySigner",
    "SealedKeys",
    "Signer",
    "SignerBackend",
    "SignerOptions",
]

"""Where the private keys of the CAs live; the contract is ``ca.signers.base.Signer``."""

from collections.abc import Mapping
from types import MappingProxyType

from ca.signers.base import Signer
from ca.signers.file import FileSigner
from ca.signers.memory import MemorySigner

BUILT_IN: Mapping[str, type[Signer]] = MappingProxyType({"file": FileSigner})
"""The signers that come with the product, by the name a setting uses."""

__all__ = ["BUILT_IN", "FileSigner", "MemorySigner", "Signer"]

"""Seals private keys at rest: AES-256-GCM under keys derived from one 32-byte master key.

Every purpose has its own key (HKDF-SHA-256, RFC 5869), and purpose and object id are authenticated,
so a sealed key moved to another row, socket or use does not open. Sealed bytes are

    octet   version (1)
    12      nonce, random
    n+16    ciphertext and tag
"""

import os

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ca import errors
from ca.ca_keys import CaPrivateKey
from ca.serials import RandomBytes

MASTER_KEY_BYTES = 32

_VERSION = b"\x01"
_NONCE_BYTES = 12
_TAG_BYTES = 16
_CONTEXT = b"mysocket keybox 1 "


class KeyBox:
    """Opens and closes sealed keys; holds the master key and nothing else."""

    __slots__ = ("_master_key", "_random_bytes")

    def __init__(self, master_key: bytes, random_bytes: RandomBytes = os.urandom) -> None:
        """Take the master key.

        Raises:
            KeyStoreError: it is not 32 bytes long.
        """
        if len(master_key) != MASTER_KEY_BYTES:
            raise errors.KeyStoreError(f"the master key has {MASTER_KEY_BYTES} bytes")
        self._master_key = master_key
        self._random_bytes = random_bytes

    def seal(self, plaintext: bytes, *, purpose: str, object_id: str) -> bytes:
        """Encrypt ``plaintext`` so that it opens for this purpose and object only."""
        nonce = self._random_bytes(_NONCE_BYTES)
        bound_to = _bound_to(purpose, object_id)
        return _VERSION + nonce + self._cipher(purpose).encrypt(nonce, plaintext, bound_to)

    def open(self, sealed: bytes, *, purpose: str, object_id: str) -> bytes:
        """The plaintext again.

        Raises:
            SealBrokenError: another master key, purpose or object, or changed bytes.
        """
        start = len(_VERSION) + _NONCE_BYTES
        if len(sealed) < start + _TAG_BYTES or sealed[:1] != _VERSION:
            raise errors.SealBrokenError("these are not sealed bytes of this format")
        nonce = sealed[len(_VERSION) : start]
        try:
            return self._cipher(purpose).decrypt(
                nonce, sealed[start:], _bound_to(purpose, object_id)
            )
        except InvalidTag as error:
            raise errors.SealBrokenError(
                f"the sealed {purpose} does not open: wrong master key, or changed bytes"
            ) from error

    def _cipher(self, purpose: str) -> AESGCM:
        context = _CONTEXT + purpose.encode("utf-8")
        derivation = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=context)
        return AESGCM(derivation.derive(self._master_key))


def seal_private_key(box: KeyBox, key: CaPrivateKey, *, purpose: str, object_id: str) -> bytes:
    """Seal a private key in PKCS#8 DER (RFC 5958)."""
    plaintext = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return box.seal(plaintext, purpose=purpose, object_id=object_id)


def open_private_key(box: KeyBox, sealed: bytes, *, purpose: str, object_id: str) -> CaPrivateKey:
    """Open what ``seal_private_key`` sealed.

    Raises:
        SealBrokenError: it does not open, or is no private key of a CA.
    """
    plaintext = box.open(sealed, purpose=purpose, object_id=object_id)
    try:
        key = serialization.load_der_private_key(plaintext, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.SealBrokenError(f"the sealed {purpose} holds no private key") from error
    if not isinstance(key, CaPrivateKey):
        raise errors.SealBrokenError(f"the sealed {purpose} holds no CA's key")
    return key


def _bound_to(purpose: str, object_id: str) -> bytes:
    """Both parts with their lengths, so that no two pairs read the same."""
    parts = [part.encode("utf-8") for part in (purpose, object_id)]
    return b"".join(len(part).to_bytes(4) + part for part in parts)

"""Sealed keys open for the same master key, purpose and object, and for nothing else."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from hypothesis import given
from hypothesis import strategies as st

from ca import errors
from ca.keybox import KeyBox, open_private_key, seal_private_key

BOX = KeyBox(bytes(range(32)))
SEALED = BOX.seal(b"secret", purpose="ssh-user-ca", object_id="socket-1")


@given(st.binary(), st.text(), st.text())
def test_what_was_sealed_opens(plaintext: bytes, purpose: str, object_id: str) -> None:
    if any("\ud800" <= character <= "\udfff" for character in purpose + object_id):
        return
    sealed = BOX.seal(plaintext, purpose=purpose, object_id=object_id)
    assert BOX.open(sealed, purpose=purpose, object_id=object_id) == plaintext
    assert len(sealed) == len(plaintext) + 29


@pytest.mark.parametrize(
    ("box", "purpose", "object_id"),
    [
        (KeyBox(bytes(32)), "ssh-user-ca", "socket-1"),
        (BOX, "x509-issuing-ca", "socket-1"),
        (BOX, "ssh-user-ca", "socket-2"),
        (BOX, "ssh-user-c", "asocket-1"),
    ],
)
def test_it_opens_for_nothing_else(box: KeyBox, purpose: str, object_id: str) -> None:
    with pytest.raises(errors.SealBrokenError) as caught:
        box.open(SEALED, purpose=purpose, object_id=object_id)
    assert caught.value.reason == "seal-broken"


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_no_changed_byte_opens(place: int, change: int) -> None:
    sealed = bytearray(SEALED)
    sealed[place] ^= change
    with pytest.raises(errors.SealBrokenError):
        BOX.open(bytes(sealed), purpose="ssh-user-ca", object_id="socket-1")


@given(st.binary())
def test_no_other_bytes_open(sealed: bytes) -> None:
    with pytest.raises(errors.SealBrokenError):
        BOX.open(sealed, purpose="ssh-user-ca", object_id="socket-1")


def test_sealing_twice_shows_nothing() -> None:
    again = BOX.seal(b"secret", purpose="ssh-user-ca", object_id="socket-1")
    assert again != SEALED


def test_the_format_stays_what_it_is() -> None:
    """A vector: rows sealed by an older version must open with a newer one."""
    box = KeyBox(bytes(range(32)), random_bytes=bytes)
    sealed = box.seal(b"secret", purpose="p", object_id="o")
    assert sealed.hex() == VECTOR


VECTOR = "01000000000000000000000000a3f340b9f48dc3145ab67f329aa9de45b3f3daa41d3e"


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_master_key_has_32_bytes(length: int) -> None:
    with pytest.raises(errors.KeyStoreError):
        KeyBox(bytes(length))


def test_a_private_key_comes_back() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    sealed = seal_private_key(BOX, key, purpose="ca", object_id="1")
    opened = open_private_key(BOX, sealed, purpose="ca", object_id="1")
    assert opened.public_key() == key.public_key()


@pytest.mark.parametrize(
    "content",
    [
        b"no key",
        x25519.X25519PrivateKey.generate().private_bytes(
            serialization.Encoding.DER,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    ],
)
def test_only_a_key_that_signs_is_a_private_key(content: bytes) -> None:
    sealed = BOX.seal(content, purpose="ca", object_id="1")
    with pytest.raises(errors.SealBrokenError):
        open_private_key(BOX, sealed, purpose="ca", object_id="1")

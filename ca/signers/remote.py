"""Private keys that are elsewhere, in the shape ``cryptography`` expects of one that is here.

Each signs by calling a function that reaches the token or agent and can do nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn, Self

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.padding import AsymmetricPadding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from ca import errors
from ca.ca_keys import CaPrivateKey, CaPublicKey, check_ca_key

SignElsewhere = Callable[[bytes, hashes.HashAlgorithm | None], bytes]
"""Signs a whole message; the answer is in ``cryptography``'s form (ECDSA: DER).

The hash is ``None`` for Ed25519, which brings its own. Raises ``IssuanceError``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteSigner:
    """A signer whose key is not in this process."""

    name: str
    public_key: CaPublicKey = field(repr=False)
    sign: SignElsewhere = field(repr=False)

    def __post_init__(self) -> None:
        check_ca_key(self.public_key)

    @property
    def signing_key(self) -> CaPrivateKey:
        if isinstance(self.public_key, ed25519.Ed25519PublicKey):
            return _Ed25519Elsewhere(self.public_key, self.sign)
        if isinstance(self.public_key, rsa.RSAPublicKey):
            return _RsaElsewhere(self.public_key, self.sign)
        return _EcdsaElsewhere(self.public_key, self.sign)


class _StaysThere:
    """What no key that is elsewhere does."""

    def private_bytes(
        self,
        encoding: serialization.Encoding,  # noqa: ARG002
        format: serialization.PrivateFormat,  # noqa: A002, ARG002
        encryption_algorithm: serialization.KeySerializationEncryption,  # noqa: ARG002
    ) -> NoReturn:
        refuse()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        refuse()


class _Ed25519Elsewhere(_StaysThere, ed25519.Ed25519PrivateKey):
    def __init__(self, public_key: ed25519.Ed25519PublicKey, sign: SignElsewhere) -> None:
        self._public_key = public_key
        self._sign = sign

    def public_key(self) -> ed25519.Ed25519PublicKey:
        return self._public_key

    def sign(self, data: bytes) -> bytes:  # type: ignore[override]  # bytes is all we sign
        return self._sign(bytes(data), None)

    def private_bytes_raw(self) -> NoReturn:
        refuse()


class _EcdsaElsewhere(_StaysThere, ec.EllipticCurvePrivateKey):
    def __init__(self, public_key: ec.EllipticCurvePublicKey, sign: SignElsewhere) -> None:
        self._public_key = public_key
        self._sign = sign

    def public_key(self) -> ec.EllipticCurvePublicKey:
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def sign(  # type: ignore[override]  # bytes is all we sign
        self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm
    ) -> bytes:
        return self._sign(bytes(data), _plain(signature_algorithm.algorithm))

    def exchange(
        self,
        algorithm: ec.ECDH,  # noqa: ARG002
        peer_public_key: ec.EllipticCurvePublicKey,  # noqa: ARG002
    ) -> NoReturn:
        refuse()

    def private_numbers(self) -> NoReturn:
        refuse()


class _RsaElsewhere(_StaysThere, rsa.RSAPrivateKey):
    def __init__(self, public_key: rsa.RSAPublicKey, sign: SignElsewhere) -> None:
        self._public_key = public_key
        self._sign = sign

    def public_key(self) -> rsa.RSAPublicKey:
        return self._public_key

    @property
    def key_size(self) -> int:
        return self._public_key.key_size

    def sign(  # type: ignore[override]  # bytes is all we sign
        self,
        data: bytes,
        padding_: AsymmetricPadding,
        algorithm: Prehashed | hashes.HashAlgorithm,
    ) -> bytes:
        if not isinstance(padding_, padding.PKCS1v15):
            raise errors.IssuanceError("a key in a token or agent signs with PKCS #1 v1.5 only")
        return self._sign(bytes(data), _plain(algorithm))

    def decrypt(
        self,
        ciphertext: bytes,  # noqa: ARG002
        padding: AsymmetricPadding,  # noqa: ARG002
    ) -> NoReturn:
        refuse()

    def private_numbers(self) -> NoReturn:
        refuse()


def refuse() -> NoReturn:
    """What is asked of the key would need the private half here."""
    raise errors.KeyStoreError("this private key does not leave the place it is in")


def _plain(algorithm: Prehashed | hashes.HashAlgorithm) -> hashes.HashAlgorithm:
    if isinstance(algorithm, Prehashed):
        raise errors.IssuanceError("a key in a token or agent signs whole messages only")
    return algorithm

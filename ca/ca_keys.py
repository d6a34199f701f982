"""Which keys may belong to a certificate authority of ours, and how one is made."""

from enum import StrEnum
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca import errors, key_strength

CaPrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CaPublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MIN_CA_RSA_BITS = 3072
"""128 bits of strength, as the other kinds of CA key have (NIST SP 800-57 part 1, table 2)."""


class CaAlgorithm(StrEnum):
    """Kinds of key a CA of ours may have, by the words the settings use."""

    ED25519 = "ed25519"
    P256 = "p256"
    P384 = "p384"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"


CURVES = MappingProxyType(
    {CaAlgorithm.P256: ec.SECP256R1(), CaAlgorithm.P384: ec.SECP384R1()},
)
"""The ECDSA kinds."""

RSA_BITS = MappingProxyType({CaAlgorithm.RSA3072: 3072, CaAlgorithm.RSA4096: 4096})
"""The RSA kinds."""


def generate_ca_key(algorithm: CaAlgorithm) -> CaPrivateKey:
    """A fresh key in this process's memory."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    if algorithm in RSA_BITS:
        return rsa.generate_private_key(65537, RSA_BITS[algorithm])
    return ed25519.Ed25519PrivateKey.generate()


def algorithm_of(key: CaPublicKey) -> CaAlgorithm | None:
    """Which kind this key is; ``None`` for one that is made under no setting."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        return CaAlgorithm.ED25519
    if isinstance(key, rsa.RSAPublicKey):
        return next((a for a, bits in RSA_BITS.items() if bits == key.key_size), None)
    return next((a for a, curve in CURVES.items() if curve.name == key.curve.name), None)


def check_ca_key(key: CaPublicKey) -> None:
    """Refuse a key that is too weak to sign for others: Ed25519, P-256, P-384, RSA ≥ 3072 pass.

    Raises:
        SubjectKeyError: with what is wrong.
    """
    if isinstance(key, rsa.RSAPublicKey):
        key_strength.check_rsa(key, min_bits=MIN_CA_RSA_BITS)
    elif isinstance(key, ed25519.Ed25519PublicKey):
        key_strength.check_ed25519(key)
    elif not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise errors.KeyTypeUnsupportedError("an ECDSA CA key is on P-256 or P-384")

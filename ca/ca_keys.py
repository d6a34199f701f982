"""Which keys may belong to a certificate authority of ours."""

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca import errors, key_strength

CaPrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
CaPublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey

MIN_CA_RSA_BITS = 3072
"""128 bits of strength, as the other kinds of CA key have (NIST SP 800-57 part 1, table 2)."""


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

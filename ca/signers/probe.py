"""Whether a signer really signs with the key it shows."""

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from ca import errors
from ca.signers.base import Signer

_SIGNED = b"mysocket: this key signs. It is no certificate, and nothing else either.\n"


def check_signs(signer: Signer) -> None:
    """Let it sign a sentence and verify the signature.

    Raises:
        IssuanceError: it does not sign, or with another key.
    """
    key, public = signer.signing_key, signer.public_key
    try:
        if isinstance(key, ed25519.Ed25519PrivateKey) and isinstance(
            public, ed25519.Ed25519PublicKey
        ):
            public.verify(key.sign(_SIGNED), _SIGNED)
        elif isinstance(key, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signature = key.sign(_SIGNED, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signature, _SIGNED, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
            public, ec.EllipticCurvePublicKey
        ):
            digest = hashes.SHA384() if public.key_size > 256 else hashes.SHA256()
            public.verify(key.sign(_SIGNED, ec.ECDSA(digest)), _SIGNED, ec.ECDSA(digest))
        else:
            raise errors.IssuanceError(f"the signer {signer.name} shows two kinds of key")
    except (InvalidSignature, UnsupportedAlgorithm, TypeError) as error:
        raise errors.IssuanceError(
            f"the signer {signer.name} does not sign with the key it shows"
        ) from error

"""SSH signatures over a challenge as they are made where the product does not make them."""

from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ca.formats.ssh_keys import USER_PRESENT, blob_of, parse_key_blob
from ca.formats.sshsig import MAGIC, Sshsig
from ca.formats.wire import string
from idp_gateway.key_proofs import NAMESPACE
from tests.support.security_keys import SecurityKey


def security_key_proof(key: SecurityKey, nonce: str, *, flags: int = USER_PRESENT) -> str:
    """What ``ssh-keygen -Y sign`` writes for a security key."""
    signature = key.sign(_to_be_signed(nonce), flags=flags)
    return Sshsig(
        key=key.key_blob, namespace=NAMESPACE, hash_algorithm="sha256", signature=signature
    ).armored


def sha1_proof(key: rsa.RSAPrivateKey, nonce: str) -> str:
    """A signature as OpenSSH made them by RSA keys before 8.8."""
    signature = key.sign(_to_be_signed(nonce), padding.PKCS1v15(), hashes.SHA1())
    return Sshsig(
        key=parse_key_blob(blob_of(key.public_key())),
        namespace=NAMESPACE,
        hash_algorithm="sha256",
        signature=string(b"ssh-rsa") + string(signature),
    ).armored


def _to_be_signed(nonce: str) -> bytes:
    fields = (NAMESPACE.encode(), b"", b"sha256", sha256(nonce.encode()).digest())
    return MAGIC + b"".join(string(one) for one in fields)

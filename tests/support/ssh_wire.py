"""Writes OpenSSH certificates field by field, also the ones no certificate authority should make.

Layout: PROTOCOL.certkeys, ``ssh-ed25519-cert-v01@openssh.com``.
"""

from base64 import b64encode
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric import ed25519

_TYPE = b"ssh-ed25519-cert-v01@openssh.com"


def string(content: bytes) -> bytes:
    """RFC 4251 §5."""
    return len(content).to_bytes(4) + content


def options(pairs: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Options or extensions in the given order; a value is a string inside a string."""
    return b"".join(string(name) + string(string(value) if value else b"") for name, value in pairs)


def certificate(
    ca: ed25519.Ed25519PrivateKey,
    *,
    certificate_type: int = 1,
    serial: int = 1,
    key_id: bytes = b"alice@example.com",
    principals: Sequence[bytes] = (b"alice@example.com",),
    valid: tuple[int, int] = (1_000_000_000, 1_000_000_600),
    critical: Sequence[tuple[bytes, bytes]] = (),
    extensions: Sequence[tuple[bytes, bytes]] = ((b"permit-pty", b""),),
    spoil: bool = False,
) -> bytes:
    """One signed certificate line; ``spoil`` breaks the signature."""
    subject = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    ca_key = string(b"ssh-ed25519") + string(ca.public_key().public_bytes_raw())
    body = b"".join(
        [
            string(_TYPE),
            string(b"n" * 32),
            string(subject),
            serial.to_bytes(8),
            certificate_type.to_bytes(4),
            string(key_id),
            string(b"".join(string(principal) for principal in principals)),
            valid[0].to_bytes(8),
            valid[1].to_bytes(8),
            string(options(critical)),
            string(options(extensions)),
            string(b""),
            string(ca_key),
        ]
    )
    signature = bytearray(ca.sign(body))
    signature[0] ^= spoil
    signed = body + string(string(b"ssh-ed25519") + string(bytes(signature)))
    return _TYPE + b" " + b64encode(signed)

"""A FIDO authenticator in software, which signs as PROTOCOL.u2f of OpenSSH says."""

from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519, USER_PRESENT, KeyBlob, parse_key_blob
from ca.formats.wire import mpint, string


class SecurityKey:
    """One key of an authenticator; touched, but asked for no PIN, unless ``flags`` says so."""

    def __init__(self, key_type: str = SK_ED25519, application: str = "ssh:") -> None:
        self.key_type = key_type
        self.application = application
        self._ed25519 = ed25519.Ed25519PrivateKey.generate()
        self._ecdsa = ec.generate_private_key(ec.SECP256R1())
        self._signatures = 0

    @property
    def blob(self) -> bytes:
        """The public half in SSH wire format."""
        if self.key_type == SK_ECDSA:
            point = self._ecdsa.public_key().public_bytes(
                Encoding.X962, PublicFormat.UncompressedPoint
            )
            fields = string(b"nistp256") + string(point)
        else:
            fields = string(self._ed25519.public_key().public_bytes_raw())
        return string(self.key_type.encode()) + fields + string(self.application.encode())

    @property
    def key_blob(self) -> KeyBlob:
        return parse_key_blob(self.blob)

    @property
    def line(self) -> str:
        """``type base64``."""
        return self.key_blob.line

    def sign(
        self, message: bytes, *, flags: int = USER_PRESENT, counter: int | None = None
    ) -> bytes:
        """A signature in SSH wire format; the counter goes up by itself."""
        self._signatures += 1
        count = self._signatures if counter is None else counter
        tail = bytes([flags]) + count.to_bytes(4)
        signed = sha256(self.application.encode()).digest() + tail + sha256(message).digest()
        if self.key_type == SK_ECDSA:
            r, s = decode_dss_signature(self._ecdsa.sign(signed, ec.ECDSA(hashes.SHA256())))
            inner = mpint(r) + mpint(s)
        else:
            inner = self._ed25519.sign(signed)
        return string(self.key_type.encode()) + string(inner) + tail

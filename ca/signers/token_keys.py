"""CA keys in a PKCS#11 token, through one session in one thread.

Keys are made in the token, sensitive and not extractable; one that ever was otherwise is not used.
Each is found by its random CKA_ID. Only mechanisms that every token has: ECDSA and RSA get a digest
that is made here, Ed25519 the whole message.
"""

import hashlib
import os
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import (
    Attribute,
    KeyType,
    Mechanism,
    ObjectClass,
    PrivateKey,
    PublicKey,
    Session,
    SignMixin,
)
from pkcs11.exceptions import AttributeTypeInvalid, PKCS11Error
from pkcs11.util.ec import encode_named_curve_parameters

from ca.ca_keys import RSA_BITS, CaAlgorithm, CaPublicKey

_REFERENCE_BYTES = 16
_ED25519_OID = "1.3.101.112"
_CURVES = {
    encode_named_curve_parameters("secp256r1"): ec.SECP256R1(),
    encode_named_curve_parameters("secp384r1"): ec.SECP384R1(),
}
_CURVE_OF = {CaAlgorithm.P256: "secp256r1", CaAlgorithm.P384: "secp384r1"}
_DIGEST_INFO = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""DER that precedes a digest in PKCS #1 v1.5 (RFC 8017 §9.2, note 1)."""
_STAYS = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.SIGN: True}


class Refused(Exception):  # noqa: N818 - an answer, not a failure
    """The token works, but this cannot be done; ``kind`` is ``missing`` or ``unsuitable``."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class TokenKeys:
    """The CA keys of an open, logged-in session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._found: dict[bytes, PrivateKey] = {}

    def create(self, name: str, algorithm: CaAlgorithm) -> dict[str, str]:
        """Make a key pair; its reference and public half."""
        reference = os.urandom(_REFERENCE_BYTES)
        try:
            self._generate(name, algorithm, reference)
        except PKCS11Error as error:
            raise Refused(
                "unsuitable", f"the token makes no {algorithm} keys: {type(error).__name__}"
            ) from error
        return self.load(reference)

    def load(self, reference: bytes) -> dict[str, str]:
        """The public half of a key whose private half is there and stays there.

        Raises:
            Refused: there is no such key, or it can leave the token.
        """
        self._check_stays(self._private(reference))
        public = _public_key(self._one(ObjectClass.PUBLIC_KEY, reference))
        der = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return {"reference": reference.hex(), "public": der.hex()}

    def sign(self, reference: bytes, data: bytes, digest: str) -> bytes:
        """Sign a message; ``digest`` names the hash, empty for Ed25519. ECDSA comes back in DER."""
        key = self._private(reference)
        if key.key_type == KeyType.EC_EDWARDS:
            return _sign(key, data, Mechanism.EDDSA)
        hashed = hashlib.new(digest, data).digest()
        if key.key_type == KeyType.RSA:
            return _sign(key, _DIGEST_INFO[digest] + hashed, Mechanism.RSA_PKCS)
        raw = _sign(key, hashed, Mechanism.ECDSA)
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))

    def destroy(self, reference: bytes) -> None:
        """Remove both halves, if they are there."""
        self._found.pop(reference, None)
        for found in list(self._session.get_objects({Attribute.ID: reference})):
            found.destroy()

    def _generate(self, name: str, algorithm: CaAlgorithm, reference: bytes) -> None:
        common: dict[str, Any] = {
            "id": reference,
            "label": name,
            "store": True,
            "private_template": _STAYS,
        }
        if algorithm in RSA_BITS:
            self._session.generate_keypair(KeyType.RSA, RSA_BITS[algorithm], **common)
            return
        kind, curve = KeyType.EC, _CURVE_OF.get(algorithm, "")
        mechanism = Mechanism.EC_KEY_PAIR_GEN
        if algorithm is CaAlgorithm.ED25519:
            kind, curve = KeyType.EC_EDWARDS, _ED25519_OID
            mechanism = Mechanism.EC_EDWARDS_KEY_PAIR_GEN
        parameters = {Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        domain = self._session.create_domain_parameters(kind, parameters, local=True)
        domain.generate_keypair(mechanism=mechanism, **common)

    def _private(self, reference: bytes) -> PrivateKey:
        if reference not in self._found:
            self._found[reference] = self._one(ObjectClass.PRIVATE_KEY, reference)
        return self._found[reference]

    def _one(self, kind: ObjectClass, reference: bytes) -> Any:
        found = list(self._session.get_objects({Attribute.CLASS: kind, Attribute.ID: reference}))
        if len(found) != 1:
            raise Refused("missing", f"the token has {len(found)} keys {reference.hex()}")
        return found[0]

    @staticmethod
    def _check_stays(key: PrivateKey) -> None:
        try:
            stays = (
                key[Attribute.ALWAYS_SENSITIVE]
                and key[Attribute.NEVER_EXTRACTABLE]
                and key[Attribute.LOCAL]
            )
        except AttributeTypeInvalid:
            stays = False
        if not stays:
            raise Refused("unsuitable", "the key was not made in the token, or can leave it")


def _sign(key: PrivateKey, data: bytes, mechanism: Mechanism) -> bytes:
    if not isinstance(key, SignMixin):
        raise Refused("unsuitable", "the token's key is not for signing")
    return bytes(key.sign(data, mechanism=mechanism))


def _public_key(key: PublicKey) -> CaPublicKey:
    if key.key_type == KeyType.RSA:
        numbers = rsa.RSAPublicNumbers(
            int.from_bytes(key[Attribute.PUBLIC_EXPONENT]), int.from_bytes(key[Attribute.MODULUS])
        )
        return numbers.public_key()
    if key.key_type == KeyType.EC_EDWARDS:
        return ed25519.Ed25519PublicKey.from_public_bytes(_point(key, 32))
    curve = _CURVES.get(bytes(key[Attribute.EC_PARAMS]))
    if curve is None:
        raise Refused("unsuitable", "the token's key is on another curve")
    length = 1 + 2 * ((curve.key_size + 7) // 8)
    return ec.EllipticCurvePublicKey.from_encoded_point(curve, _point(key, length))


def _point(key: PublicKey, length: int) -> bytes:
    """The point; most tokens wrap it in an OCTET STRING, as PKCS#11 says, and some do not."""
    raw = bytes(key[Attribute.EC_POINT])
    if raw[:2] == bytes((4, length)) and len(raw) == length + 2:
        return raw[2:]
    return raw

"""Readable bytes for fuzzers to start from: ``python -m tests.fuzz.seeds`` writes the corpus.

Files that are there already stay: beside these seeds the corpus keeps what fuzzers found.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from ca.formats import ssh_certificate, wire
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.host_messages import Bundle
from ca.formats.krl import Krl, RevokedByCa
from ca.formats.log_proof import InclusionProof
from ca.formats.ssh_keys import (
    SK_ECDSA,
    SK_ED25519,
    KeyBlob,
    PrivateKey,
    blob_of,
    parse_key_blob,
    sign_blob,
)
from ca.formats.sshsig import make_sshsig, parse_armored

CORPUS = Path(__file__).parent / "corpus"
AUTHORITY = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
"""Signs the certificates; known to everybody, trusted by none but the fuzz target."""

_RSA = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, PrivateKey] = {
    "ed25519": AUTHORITY,
    "p256": ec.derive_private_key(7, ec.SECP256R1()),
    "p384": ec.derive_private_key(7, ec.SECP384R1()),
    "p521": ec.derive_private_key(7, ec.SECP521R1()),
    "rsa": _RSA,
}


def public_keys() -> dict[str, KeyBlob]:
    """One public key of each type, by name."""
    keys = {name: parse_key_blob(blob_of(key.public_key())) for name, key in KEYS.items()}
    raw, point = keys["ed25519"].blob[-32:], keys["p256"].blob[-65:]
    application = wire.string(b"ssh:")
    sk = wire.string(SK_ED25519.encode()) + wire.string(raw) + application
    sk_ecdsa = wire.string(SK_ECDSA.encode()) + wire.string(b"nistp256")
    sk_ecdsa += wire.string(point) + application
    return keys | {"sk-ed25519": parse_key_blob(sk), "sk-p256": parse_key_blob(sk_ecdsa)}


def _certificate(subject: KeyBlob, signer: PrivateKey, **changes: object) -> bytes:
    fields: dict[str, object] = {
        "nonce": bytes(32),
        "serial": 7,
        "kind": ssh_certificate.USER,
        "key_id": b"a" * 32 + b".1:socket",
        "principals": (b"a" * 32, b"mysocket_ssh_signed"),
        "valid_after": 1_000_000_000,
        "valid_before": 1_000_000_600,
        "critical_options": ((b"force-command", b"true"), (b"verify-required", b"")),
        "extensions": ((b"decision@mysocket.io", b"d 1"), (b"permit-pty", b"")),
        "signature_key": blob_of(signer.public_key()),
    }
    signed = ssh_certificate.encode_to_be_signed(key_blob=subject, **(fields | changes))  # type: ignore[arg-type]
    return signed + wire.string(sign_blob(signer, signed))


def _csr(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _requests() -> Iterator[tuple[str, str, bytes]]:
    for name in ("p256", "p384", "rsa"):
        yield "csr", name, _csr(KEYS[name])  # type: ignore[arg-type]
    yield from _wishes()


def _wishes() -> Iterator[tuple[str, str, bytes]]:
    """Extensions with what libraries have no class for, as requests whose signature is to come."""
    unusual = {
        "x400-address": ("2.5.29.17", "3002a300"),
        "edi-party-name": ("2.5.29.17", "3007a505a103130178"),
        "constraints": ("2.5.29.30", "3008a0063004a3023000"),
        "tls-feature": ("1.3.6.1.5.5.7.1.24", "3003020163"),
        "names": ("2.5.29.17", "3013820161870401020304860178a4023000880109"),
    }
    for name, (oid, value) in unusual.items():
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), bytes.fromhex(value))
        builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
        request = builder.add_extension(extension, critical=False)
        signed = request.sign(KEYS["p256"], hashes.SHA256())  # type: ignore[arg-type]
        yield "signed-csr", name, signed.tbs_certrequest_bytes


def _krls() -> Iterator[tuple[str, Krl]]:
    serials = (1, 2, 5, 1000, 2**64 - 1)
    entry = RevokedByCa(
        ca=b"ca",
        serials=((3, 40), (50, 51), (70, 70), (10_000, 2**40), (2**50, 2**50)),
        key_ids=(b"alice", b"bob"),
    )
    yield "empty", Krl()
    yield "list", Krl(certificates=(RevokedByCa.of_serials(b"ca", serials),))
    yield (
        "all",
        Krl(
            number=9,
            generated_at=1_795_392_000,
            comment=b"c",
            certificates=(entry, RevokedByCa.of_serials(b"", serials)),
            keys=(b"key",),
            sha256=(b"h" * 32,),
            sha1=(b"h" * 20,),
        ),
    )


def _log_texts() -> Iterator[tuple[str, str, bytes]]:
    other = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)
    key = LogKey(origin="gateway.test/ca/log", public=other.public_key())
    note = Checkpoint(origin=key.origin, size=5, root=b"r" * 32).sign(other)
    proof = InclusionProof(
        index=3, issued_at_ms=1_795_392_000_000, hashes=(b"h" * 32, b"g" * 32), checkpoint=note
    )
    yield "checkpoint", "note", note.encode()
    yield "checkpoint", "key", str(key).encode()
    yield "log-proof", "proof", json.dumps(proof.to_json()).encode()


def _other_texts() -> Iterator[tuple[str, str, bytes]]:
    key = public_keys()["p256"]
    bundle = Bundle(
        host_id="host",
        dns_name="calm-otter.edge.test",
        nonce="0" * 32,
        number=4,
        issued_at=1_795_392_000,
        krl=Krl().encode(),
        user_cas=(key.line,),
        host_cas=(key.line, key.line),
    )
    yield "bundle", "plain", bundle.encode().encode()
    fingerprint = key.fingerprint.encode()
    yield (
        "sightings",
        "sshd",
        b"".join(
            (
                b"sshd[7]: Accepted publickey for bob from 192.0.2.1 port 50022 ssh2: ",
                b"ED25519-CERT " + fingerprint + b" ID ann@corp.test/d-1/3 (serial 7) CA ED25519 ",
                fingerprint + b"\n",
            )
        ),
    )
    yield (
        "sightings",
        "edge",
        b'{"kind":"stream","peer_serial":"ff","upstream":"/t","details":""}\n',
    )
    listed = wire.string(key.blob) + wire.string(b"mysocket ssh-host")
    yield "agent-answer", "keys", b"\x0c" + wire.uint32(2) + listed * 2
    for name in ("ed25519", "p256"):
        signed = sign_blob(KEYS[name], b"message")
        yield "agent-answer", f"signed-{name}", b"\x0e" + wire.string(signed)


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Target, name and content of each seed."""
    signer = KEYS["ed25519"]
    for name, key in public_keys().items():
        certificate = _certificate(key, signer)
        kind = ssh_certificate.certificate_type(key.key_type).encode()
        yield "key-blob", name, key.blob
        yield "key-line", name, f"{key.line} comment\n".encode()
        yield "subject-key", name, key.line.encode()
        yield "certificate", name, certificate
        yield "lint", name, certificate
        yield "certificate-line", name, kind + b" " + base64.b64encode(certificate)
    for name, private in KEYS.items():
        armored = make_sshsig(private, b"message", "test")
        yield "sshsig", f"{name}-armored", armored.encode()
        yield "sshsig", name, parse_armored(armored).blob
        yield "signature", name, sign_blob(private, b"message")
        yield "certificate", f"by-{name}", _certificate(public_keys()["p256"], private)
        yield "tunnel-login", name, _certificate(public_keys()[name], signer)
    yield (
        "tunnel-login",
        "forever",
        _certificate(
            public_keys()["p256"],
            signer,
            valid_after=0,
            valid_before=2**64 - 1,
            principals=(),
            critical_options=(),
        ),
    )
    yield (
        "lint",
        "host",
        _certificate(
            public_keys()["p384"],
            signer,
            kind=ssh_certificate.HOST,
            principals=(b"web.edge.test", b"*.edge.test", b"2001:db8::1"),
            critical_options=((b"source-address", b"10.0.0.0/8,::1"), (b"a", b""), (b"a", b"b")),
            extensions=(),
        ),
    )
    for name, krl in _krls():
        yield "krl", name, krl.encode()
    yield "krl-contents", "some", bytes(range(200))
    yield (
        "wire",
        "each",
        bytes([0, 9, 1])
        + bytes(4)
        + b"\x02"
        + bytes(8)
        + b"\x03"
        + (wire.string(b"abc") + b"\x04" + wire.mpint(200) + b"\x05rest"),
    )
    yield "merkle", "path", b"".join(map(wire.uint32, (3, 4, 9))) + b"h" * 128
    yield from _log_texts()
    yield from _other_texts()
    yield from _requests()


def main() -> None:
    """Write the seeds that are not there."""
    for target, name, content in seeds():
        path = CORPUS / target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(content)


if __name__ == "__main__":
    main()

"""What must hold for any bytes, one function for each format: the same for every fuzzer.

A target returns if the bytes were refused in the way the format's page says, or if everything that
was promised of readable bytes held. Anything else it raises is a finding.
"""

import base64
import contextlib
import itertools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca.errors import CaError, CsrMalformedError, CsrNamesError
from ca.formats import ssh_certificate, ssh_keys, ssh_lint, wire
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.errors import FormatError, SignatureInvalid
from ca.formats.host_messages import parse_bundle
from ca.formats.krl import Krl, RevokedByCa, parse_krl
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.formats.merkle import verify_consistency, verify_inclusion
from ca.formats.ssh_keys import KeyBlob, blob_of, parse_key_blob, parse_key_line
from ca.formats.ssh_lint_rules import RULES, Profile
from ca.formats.sshsig import parse_armored, parse_sshsig, verify_sshsig
from ca.signers import ssh_agent
from ca.subject_keys import MAX_KEY_BYTES, parse_csr, parse_ssh_public_key
from clients.mysocketctl.sightings import Sighting, read_edge_log, read_sshd_log
from proxy.errors import TunnelRefused
from proxy.state import TunnelUser
from proxy.tunnels.ssh.login import LoginKeys, read_certificate

Target = Callable[[bytes], None]

_NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
_LOG = LogKey(
    origin="gateway.test/ca/log",
    public=ed25519.Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).public_key(),
)
_CSR_KEY = ec.derive_private_key(7, ec.SECP256R1())
_ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
_ENTRY = LogEntry(kind="ssh", issued_at_ms=1_795_392_000_000, certificate=b"certificate")


def wire_fields(data: bytes) -> None:
    """Fields read one after another, each chosen by a byte, are written back the same."""
    reader, written = wire.Reader(data), b""
    with contextlib.suppress(FormatError):
        for _ in range(256):
            choice = reader.byte()
            written += wire.byte(choice)
            written += (
                lambda: wire.byte(reader.byte()),
                lambda: wire.uint32(reader.uint32()),
                lambda: wire.uint64(reader.uint64()),
                lambda: wire.string(reader.string()),
                lambda: wire.mpint(reader.mpint()),
                reader.rest,
            )[choice % 6]()
            assert data.startswith(written)
            assert reader.position == len(written)
            assert reader.remaining == len(data) - len(written)


def key_blob(data: bytes) -> None:
    """A key that can be read has one blob and one line, and is what its type says."""
    try:
        key = parse_key_blob(data)
    except FormatError:
        return
    _check_key(key)
    assert key.blob == data


def key_line(data: bytes) -> None:
    """A line that can be read gives the key whose line it is, whatever the comment was."""
    try:
        key = parse_key_line(data)
    except FormatError:
        return
    _check_key(key)
    assert data.strip().startswith(key.key_type.encode())
    assert key.line.split(" ")[1].encode() in data


def _check_key(key: KeyBlob) -> None:
    assert parse_key_blob(key.blob) == key
    assert parse_key_line(key.line) == key
    assert key.key_type.startswith("sk-") == key.is_security_key
    if not key.is_security_key:
        assert blob_of(key.key) == key.blob


def signature(data: bytes) -> None:
    """No bytes are a signature by these keys over a message they never signed."""
    for key in _SIGNERS:
        try:
            ssh_keys.verify_signature(key, data, b"never signed")
        except SignatureInvalid:
            continue
        raise AssertionError(f"{key.key_type} takes what nobody signed")


def certificate(data: bytes) -> None:
    """A certificate that can be read is written back byte for byte, from its fields."""
    try:
        found = ssh_certificate.parse_certificate_blob(data)
    except FormatError:
        return
    _check_certificate(found)
    assert found.blob == data


def certificate_line(data: bytes) -> None:
    """A line that can be read gives the certificate whose line it is."""
    try:
        found = ssh_certificate.parse_certificate_line(data)
    except FormatError:
        return
    _check_certificate(found)
    assert found.line.split(" ")[1].encode() in data


def _check_certificate(found: ssh_certificate.SshCertificate) -> None:
    again = ssh_certificate.encode_to_be_signed(
        key_blob=found.key_blob,
        nonce=found.nonce,
        serial=found.serial,
        kind=found.kind,
        key_id=found.key_id,
        principals=found.principals,
        valid_after=found.valid_after,
        valid_before=found.valid_before,
        critical_options=found.critical_options,
        extensions=found.extensions,
        signature_key=found.signature_key,
        reserved=found.reserved,
    )
    assert again == found.signed
    assert found.signed + wire.string(found.signature) == found.blob
    assert ssh_certificate.parse_certificate_blob(found.blob) == found
    assert ssh_certificate.parse_certificate_line(found.line) == found
    with contextlib.suppress(SignatureInvalid):
        ssh_certificate.verify(found)


def lint(data: bytes) -> None:
    """The linter says something about any bytes, and only what its page explains."""
    for profile in Profile:
        findings = ssh_lint.lint(data, profile=profile)
        assert {finding.rule for finding in findings} <= set(RULES)
        if not findings:
            assert ssh_certificate.verify(_readable(data))
        for finding in findings:
            assert finding.message.isprintable()


def _readable(data: bytes) -> ssh_certificate.SshCertificate:
    if data[:1] == b"\0":
        return ssh_certificate.parse_certificate_blob(data)
    return ssh_certificate.parse_certificate_line(data)


def tunnel_login(data: bytes) -> None:
    """Nothing but a certificate of the trusted CA logs in to the tunnel server."""
    user = TunnelUser(user_name="a" * 32, public_keys=())
    keys = LoginKeys(
        accounts={},
        authorities=frozenset({_SIGNERS[0].blob}),
        users={user.user_name: user},
        trust=None,
    )
    try:
        read_certificate(data, user.user_name, keys, _NOW)
    except TunnelRefused:
        return
    raise AssertionError("a certificate nobody signed logs in")


def krl(data: bytes) -> None:
    """A list that can be read has one canonical form, which says the same and is not longer."""
    try:
        found = parse_krl(data)
    except FormatError:
        return
    canonical = found.encode()
    again = parse_krl(canonical)
    assert again == found
    assert again.encode() == canonical
    for entry in found.certificates:
        for first, last in entry.serials[:50]:
            for serial in (first, last):
                assert found.revokes_certificate(
                    ca=entry.ca or b"any", serial=serial, key_id=b"?", subject=b"?"
                )
    for key in found.keys[:50]:
        assert found.revokes_key(key)


def krl_contents(data: bytes) -> None:
    """Any serials, as byte pairs of a start and a length, come back from a list that names them."""
    serials: set[int] = set()
    for start, length in zip(data[:24:2], data[1:24:2], strict=False):
        first = 1 + start * 64
        serials.update(range(first, first + length))
    made = Krl(certificates=(RevokedByCa.of_serials(b"ca", serials),))
    read = parse_krl(made.encode())
    assert read == made
    for serial in {1 + start * 64 + length for start, length in itertools.pairwise(data[:24])}:
        held = read.revokes_certificate(ca=b"ca", serial=serial, key_id=b"", subject=b"?")
        assert held == (serial in serials)


def ssh_signature_file(data: bytes) -> None:
    """A message signature that can be read is written back, and nobody's unless it verifies."""
    for parse in (parse_sshsig, parse_armored):
        try:
            found = parse(data)
        except FormatError:
            continue
        assert parse_sshsig(found.blob) == found
        assert parse_armored(found.armored) == found
        assert parse is parse_armored or found.blob == data
    for message in (b"", b"message"):
        with contextlib.suppress(FormatError):
            assert isinstance(verify_sshsig(data, message, "test"), KeyBlob)


def checkpoint(data: bytes) -> None:
    """No text is a checkpoint of a log that never signed one; a key has one form."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        _LOG.open(text)
    except FormatError:
        pass
    else:
        raise AssertionError("a checkpoint nobody signed")
    try:
        key = LogKey.parse(text)
    except FormatError:
        return
    assert str(key) == text
    made = Checkpoint(origin=key.origin, size=1, root=bytes(32)).sign(_OTHER_LOG)
    with contextlib.suppress(FormatError):
        key.open(made)


def log_proof(data: bytes) -> None:
    """A proof that can be read has one JSON, and proves nothing without the log's signature."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    try:
        proof = InclusionProof.from_json(document)
    except FormatError:
        return
    assert InclusionProof.from_json(proof.to_json()) == proof
    try:
        proof.verify(_ENTRY, _LOG)
    except FormatError:
        return
    raise AssertionError("a proof without a checkpoint")


def merkle(data: bytes) -> None:
    """No path leads from a made-up leaf to a root it was not made for."""
    index, old, new = (int.from_bytes(data[at : at + 4]) for at in (0, 4, 8))
    path = [data[at : at + 32] for at in range(12, min(len(data), 12 + 32 * 70), 32)]
    leaf, root = b"\x11" * 32, b"\x22" * 32
    assert not verify_inclusion(leaf, index=index, size=new, path=path, root=root)
    consistent = verify_consistency(old=old, old_root=leaf, new=new, new_root=root, path=path)
    assert not consistent


def bundle(data: bytes) -> None:
    """A host's bundle that can be read has one text."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        found = parse_bundle(text)
    except FormatError:
        return
    assert found.encode() == text
    assert parse_bundle(found.encode()) == found


def sightings(data: bytes) -> None:
    """Any log can be read to its end, and what it says of certificates can be asked about."""
    lines = data.splitlines(keepends=True)
    for found in (*read_sshd_log(lines), *read_edge_log(lines)):
        if isinstance(found, Sighting):
            json.dumps(found.question()).encode()
        else:
            assert found.line in lines


def agent_answer(data: bytes) -> None:
    """An agent that answers nonsense holds no keys and signs nothing."""
    for read in (
        ssh_agent._read_identities,
        lambda answer: ssh_agent._read_signature(_SIGNERS[0], b"ssh-ed25519", answer),
        lambda answer: ssh_agent._read_signature(_SIGNERS[1], b"ecdsa-sha2-nistp256", answer),
    ):
        with contextlib.suppress(FormatError):
            read(data)


def subject_key(data: bytes) -> None:
    """A key that is certified is read alike by the format's own parser."""
    try:
        key = parse_ssh_public_key(data)
    except CaError:
        return
    assert len(data) <= MAX_KEY_BYTES
    plain = parse_key_line(key.line)
    assert (plain.blob, plain.fingerprint) == (key.blob, key.fingerprint)
    assert parse_ssh_public_key(key.line) == key


def signed_csr(data: bytes) -> None:
    """A request whose key signed these very bytes, which no change of a whole request gets to."""
    signature = b"\0" + _CSR_KEY.sign(data, ec.ECDSA(hashes.SHA256()))
    der = _der(0x30, data + _ECDSA_SHA256 + _der(0x03, signature))
    pem = f"-----BEGIN CERTIFICATE REQUEST-----\n{base64.encodebytes(der).decode()}"
    csr(f"{pem}-----END CERTIFICATE REQUEST-----\n".encode())


def _der(tag: int, content: bytes) -> bytes:
    return bytes([tag, 0x84]) + len(content).to_bytes(4) + content


def csr(data: bytes) -> None:
    """A request is one whole, signed PEM, or refused by name."""
    try:
        key = parse_csr(data)
    except CaError:
        return
    assert len(key.fingerprint) == 64
    try:
        assert parse_csr(data, names={"alice@lab.test"}) == key
    except CsrNamesError:
        return
    except CsrMalformedError:
        # Names that nobody can read are only looked for when they matter.
        return


def _signers() -> tuple[KeyBlob, ...]:
    rsa_public = rsa.RSAPublicNumbers(65537, (1 << 2047) | 0x10001).public_key()
    point = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    plain = (_LOG.public, point, rsa_public)
    keys = [parse_key_blob(blob_of(key)) for key in plain]
    ssh = wire.string(b"ssh:")
    sk = wire.string(ssh_keys.SK_ED25519.encode()) + wire.string(_LOG.public.public_bytes_raw())
    return (*keys, parse_key_blob(sk + ssh))


_OTHER_LOG = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
_SIGNERS = _signers()

TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        "wire": wire_fields,
        "key-blob": key_blob,
        "key-line": key_line,
        "signature": signature,
        "certificate": certificate,
        "certificate-line": certificate_line,
        "lint": lint,
        "tunnel-login": tunnel_login,
        "krl": krl,
        "krl-contents": krl_contents,
        "sshsig": ssh_signature_file,
        "checkpoint": checkpoint,
        "log-proof": log_proof,
        "merkle": merkle,
        "bundle": bundle,
        "sightings": sightings,
        "agent-answer": agent_answer,
        "subject-key": subject_key,
        "csr": csr,
        "signed-csr": signed_csr,
    }
)
"""Every target by the name of its corpus folder."""

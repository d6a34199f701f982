"""Values written and read back: what random bytes would take too long to come upon."""

import re
import subprocess
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ca.formats import ssh_certificate, ssh_lint, wire
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.errors import FormatError, SignatureInvalid
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.formats.merkle import (
    Frontier,
    consistency_path,
    inclusion_path,
    verify_consistency,
    verify_inclusion,
)
from ca.formats.ssh_keys import blob_of, sign_blob, verify_signature
from ca.formats.ssh_lint_rules import Profile
from ca.formats.sshsig import make_sshsig, parse_armored, verify_sshsig
from clients.mysocketctl.sightings import Sighting, Unreadable, read_sshd_log
from proxy.errors import TunnelRefused
from proxy.state import TunnelUser
from proxy.tunnels.ssh.login import LoginKeys, read_certificate
from tests.fuzz.seeds import AUTHORITY, KEYS, public_keys

PUBLIC = public_keys()
SIGNED_BY = {name: PUBLIC[name] for name in KEYS}
uint64 = st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**63, 2**64 - 1])
octets = st.binary(max_size=40)
names = st.sampled_from([b"a", b"permit-pty", b"force-command", b"x@mysocket.io"]) | octets
options = st.lists(st.tuples(names, octets), max_size=4)
quickly = settings(max_examples=100, deadline=None, database=None)


@st.composite
def signed_certificates(draw: st.DrawFn) -> tuple[dict[str, object], bytes]:
    """Any fields, odd ones included, and the certificate over them."""
    signer = KEYS[draw(st.sampled_from(sorted(KEYS)))]
    fields: dict[str, object] = {
        "nonce": draw(octets),
        "serial": draw(uint64),
        "kind": draw(st.sampled_from(["user", "host", 0, 3, 2**32 - 1])),
        "key_id": draw(octets),
        "principals": tuple(draw(st.lists(octets, max_size=4))),
        "valid_after": draw(uint64),
        "valid_before": draw(uint64),
        "critical_options": tuple(draw(options)),
        "extensions": tuple(draw(options)),
        "reserved": draw(octets),
        "signature_key": blob_of(signer.public_key()),
        "key_blob": PUBLIC[draw(st.sampled_from(sorted(PUBLIC)))],
    }
    signed = ssh_certificate.encode_to_be_signed(**fields)  # type: ignore[arg-type]
    return fields, signed + wire.string(sign_blob(signer, signed))


@quickly
@given(made=signed_certificates())
def test_a_certificate_is_read_as_it_was_written(made: tuple[dict[str, object], bytes]) -> None:
    fields, blob = made
    found = ssh_certificate.parse_certificate_blob(blob)
    assert {name: getattr(found, name) for name in fields} == fields
    assert found.blob == blob
    ssh_certificate.verify(found)


@quickly
@given(made=signed_certificates(), place=st.integers(0), bit=st.integers(0, 7))
def test_no_bit_of_a_certificate_can_be_changed(
    made: tuple[dict[str, object], bytes], place: int, bit: int
) -> None:
    spoiled = bytearray(made[1])
    spoiled[place % len(spoiled)] ^= 1 << bit
    with pytest.raises(FormatError):
        ssh_certificate.verify(ssh_certificate.parse_certificate_blob(bytes(spoiled)))


@quickly
@given(made=signed_certificates())
def test_what_the_strict_linter_passes_no_rule_of_ours_forbids(
    made: tuple[dict[str, object], bytes],
) -> None:
    fields, blob = made
    if ssh_lint.lint(blob, profile=Profile.OURS):
        return
    assert fields["serial"] > 0  # type: ignore[operator]
    assert fields["valid_after"] < fields["valid_before"] < 2**40  # type: ignore[operator]
    assert fields["principals"]
    assert not any(re.search(rb"[,*?\s]", name) for name in fields["principals"])  # type: ignore[attr-defined]


@settings(
    max_examples=25,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    made=signed_certificates(),
    serial=uint64,
    key_id=st.from_regex(r"[a-z@./-]{1,40}", fullmatch=True),
    principals=st.lists(st.from_regex(r"[a-z@._-]{1,20}", fullmatch=True), max_size=4),
)
def test_openssh_reads_the_same(
    tmp_path: Path,
    made: tuple[dict[str, object], bytes],
    serial: int,
    key_id: str,
    principals: list[str],
) -> None:
    fields = made[0] | {
        "kind": "user",
        "serial": serial,
        "key_id": key_id.encode(),
        "principals": tuple(name.encode() for name in principals),
        "valid_after": 1_000_000_000,
        "valid_before": 1_000_000_600,
        "critical_options": (),
        "extensions": ((b"permit-pty", b""),),
        "signature_key": blob_of(AUTHORITY.public_key()),
    }
    signed = ssh_certificate.encode_to_be_signed(**fields)  # type: ignore[arg-type]
    found = ssh_certificate.parse_certificate_blob(
        signed + wire.string(sign_blob(AUTHORITY, signed))
    )
    file = tmp_path / "cert.pub"
    file.write_text(found.line + "\n")
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", str(file)], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    lines = [line.strip() for line in shown.stdout.splitlines()]
    assert f"Type: {found.certificate_type} user certificate" in lines
    assert f'Key ID: "{key_id}"' in lines
    assert f"Serial: {serial}" in lines
    assert any(found.fingerprint in line for line in lines if line.startswith("Public key:"))
    listed = (
        lines[lines.index("Principals:") + 1 : lines.index("Critical Options: (none)")]
        if (principals)
        else []
    )
    assert listed == principals


# Logging in to the tunnel server.

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALICE = "a" * 32
GOOD: dict[str, object] = {
    "nonce": bytes(32),
    "serial": 7,
    "kind": "user",
    "key_id": f"{ALICE}.2:web:t-1".encode(),
    "principals": (ALICE.encode(),),
    "valid_after": int(NOW.timestamp()) - 300,
    "valid_before": int(NOW.timestamp()) + 300,
    "critical_options": (),
    "extensions": ((b"permit-pty", b""),),
    "signature_key": blob_of(AUTHORITY.public_key()),
    "key_blob": PUBLIC["p256"],
}
ODD: dict[str, st.SearchStrategy[object]] = {
    "kind": st.sampled_from(["host", 0, 3]),
    "key_id": octets
    | st.sampled_from(
        [
            f"{ALICE}.1:web".encode(),
            f"{ALICE}:web".encode(),
            f"{ALICE}.2:web:".encode(),
            f"{ALICE}.2:web\n".encode(),
            f"{ALICE}.02:web".encode(),
            f"{ALICE}.2:web:t-1:t-2".encode(),
            f"{'b' * 32}.2:web".encode(),
            b"ann@corp.test/d-1/4",
        ]
    ),
    "principals": st.sampled_from([(), (b"b" * 32,), (ALICE.encode(), b"root"), (b"",)]),
    "valid_after": st.integers(int(NOW.timestamp()) + 1, 2**64 - 1),
    "valid_before": st.integers(0, int(NOW.timestamp())),
    "critical_options": st.sampled_from([((b"force-command", b"x"),), ((b"", b""),)]),
}


def log_in(fields: dict[str, object]) -> str:
    keys = LoginKeys(
        accounts={},
        authorities=frozenset({blob_of(AUTHORITY.public_key())}),
        users={ALICE: TunnelUser(user_name=ALICE, public_keys=(), generation=2)},
    )
    signed = ssh_certificate.encode_to_be_signed(**fields)  # type: ignore[arg-type]
    blob = signed + wire.string(sign_blob(AUTHORITY, signed))
    login = read_certificate(blob, ALICE, keys, NOW)
    return f"{login.user_name} {login.generation} {login.socket_id} {login.tunnel_id}"


def test_the_right_certificate_logs_in_to_the_tunnel_server() -> None:
    assert log_in(GOOD) == f"{ALICE} 2 web t-1"
    assert log_in(GOOD | {"key_id": f"{ALICE}.3:web".encode()}) == f"{ALICE} 3 web None"


@pytest.mark.parametrize("field", ODD)
@quickly
@given(data=st.data())
def test_one_odd_field_and_the_tunnel_server_refuses(field: str, data: st.DataObject) -> None:
    with pytest.raises(TunnelRefused):
        log_in(GOOD | {field: data.draw(ODD[field])})


# Signatures.


@quickly
@given(name=st.sampled_from(sorted(KEYS)), message=octets, other=octets)
def test_a_signature_is_for_its_message_and_key_alone(
    name: str, message: bytes, other: bytes
) -> None:
    signature = sign_blob(KEYS[name], message)
    for key in SIGNED_BY:
        fits = key == name
        if fits:
            verify_signature(PUBLIC[key], signature, message)
        else:
            with pytest.raises(SignatureInvalid):
                verify_signature(PUBLIC[key], signature, message)
    if other != message:
        with pytest.raises(SignatureInvalid):
            verify_signature(PUBLIC[name], signature, other)


@quickly
@given(
    name=st.sampled_from(sorted(KEYS)),
    message=octets,
    namespace=st.from_regex(r"[!-~]{1,30}", fullmatch=True),
    other=st.from_regex(r"[!-~]{1,30}", fullmatch=True),
)
def test_a_message_signature_is_for_its_namespace(
    name: str, message: bytes, namespace: str, other: str
) -> None:
    armored = make_sshsig(KEYS[name], message, namespace)
    assert verify_sshsig(armored, message, namespace) == PUBLIC[name]
    assert verify_sshsig(parse_armored(armored).blob, message, namespace) == PUBLIC[name]
    for wrong in ((message + b"x", namespace), (message, namespace + "x"), (message, other)):
        if wrong != (message, namespace):
            with pytest.raises(FormatError):
                verify_sshsig(armored, *wrong)


# The log.


@quickly
@given(
    user=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60),
    key_id=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=200)
    | st.just(f"x (serial 1) CA ED25519 {PUBLIC['rsa'].fingerprint}")
    | st.just(f"x ssh2: RSA-CERT {PUBLIC['rsa'].fingerprint} ID y (serial 2) CA"),
    serial=uint64,
)
def test_no_key_id_makes_sshds_log_name_another_certificate(
    user: str, key_id: str, serial: int
) -> None:
    key, ca = PUBLIC["p256"].fingerprint, PUBLIC["p384"].fingerprint
    line = (
        f"Nov 23 12:00:00 web sshd[7]: Accepted publickey for {user} from 192.0.2.1 port 50022 "
        f"ssh2: ECDSA-CERT {key} ID {key_id} (serial {serial}) CA ECDSA {ca}\n"
    )
    (found,) = read_sshd_log([line.encode()])
    assert isinstance(found, Sighting)
    assert (found.serial, found.ca) == (str(serial), ca)


def test_a_line_made_to_keep_the_reader_busy_is_named_and_passed_over() -> None:
    part = f"Accepted publickey for x from 1 port 1 ssh2: A-CERT {PUBLIC['rsa'].fingerprint} ID "
    line = f"sshd[7]: {part * 4000}\n".encode()
    assert list(read_sshd_log([line, b"x" * 100_000, b"\n"])) == [Unreadable(line)]


LOG = LogKey(origin="gateway.test/ca/log", public=AUTHORITY.public_key())


def tree(size: int) -> tuple[Frontier, dict[tuple[int, int], bytes], list[LogEntry]]:
    entries = [
        LogEntry(kind="ssh", issued_at_ms=number, certificate=b"%d" % number)
        for number in range(size)
    ]
    frontier, nodes = Frontier().grow(entry.leaf_hash() for entry in entries)
    return frontier, nodes, entries


@quickly
@given(size=st.integers(1, 130), data=st.data())
def test_every_leaf_is_proved_and_nothing_else(size: int, data: st.DataObject) -> None:
    frontier, nodes, entries = tree(size)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(index, size, nodes.__getitem__)
    leaf, root = entries[index].leaf_hash(), frontier.root
    assert verify_inclusion(leaf, index=index, size=size, path=path, root=root)
    other = data.draw(st.integers(0, size + 1))
    if other != index:
        assert not verify_inclusion(leaf, index=other, size=size, path=path, root=root)
    if path:
        cut = data.draw(st.integers(0, len(path) - 1))
        spoiled = [*path[:cut], bytes(32), *path[cut + 1 :]]
        assert not verify_inclusion(leaf, index=index, size=size, path=spoiled, root=root)
        assert not verify_inclusion(leaf, index=index, size=size, path=path[:-1], root=root)
    more = [*path, root]
    assert not verify_inclusion(leaf, index=index, size=size, path=more, root=root)
    note = Checkpoint(origin=LOG.origin, size=size, root=root).sign(AUTHORITY)
    proof = InclusionProof(index=index, issued_at_ms=index, hashes=path, checkpoint=note)
    assert InclusionProof.from_json(proof.to_json()).verify(entries[index], LOG).size == size


@quickly
@given(old=st.integers(0, 100), more=st.integers(0, 60), data=st.data())
def test_a_tree_grew_from_its_own_past_alone(old: int, more: int, data: st.DataObject) -> None:
    before, _, _ = tree(old)
    after, nodes, _ = tree(old + more)
    path = consistency_path(old, old + more, nodes.__getitem__)
    ends = {"old": old, "new": old + more, "old_root": before.root, "new_root": after.root}
    assert verify_consistency(**ends, path=path)  # type: ignore[arg-type]
    # Everything grew from nothing.
    for root in ("old_root", "new_root") if old else ("old_root",):
        assert not verify_consistency(**ends | {root: bytes(32)}, path=path)  # type: ignore[arg-type]
    if path:
        cut = data.draw(st.integers(0, len(path) - 1))
        spoiled = [*path[:cut], bytes(32), *path[cut + 1 :]]
        assert not verify_consistency(**ends, path=spoiled)  # type: ignore[arg-type]
        assert not verify_consistency(**ends, path=path[:-1])  # type: ignore[arg-type]
    assert not verify_consistency(**ends, path=[*path, bytes(32)])  # type: ignore[arg-type]


@quickly
@given(content=st.binary(max_size=80), place=st.integers(0), bit=st.integers(0, 7))
def test_no_bit_of_a_checkpoint_can_be_changed(content: bytes, place: int, bit: int) -> None:
    root = (content + bytes(32))[:32]
    note = Checkpoint(origin=LOG.origin, size=len(content), root=root).sign(AUTHORITY)
    assert LOG.open(note) == Checkpoint(origin=LOG.origin, size=len(content), root=root)
    spoiled = bytearray(note.encode())
    spoiled[place % len(spoiled)] ^= 1 << bit
    with pytest.raises(FormatError):
        LOG.open(spoiled.decode("utf-8", "surrogateescape"))


def test_key_lines_as_text_and_bytes_are_one() -> None:
    for key in PUBLIC.values():
        line = f"{key.key_type} {b64encode(key.blob).decode()}"
        assert key.line == line

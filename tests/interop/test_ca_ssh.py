"""OpenSSH's own opinion of our SSH certificates: ``ssh-keygen -L`` and a real ``sshd``."""

import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca import ssh
from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519, USER_PRESENT
from ca.signers import MemorySigner
from ca.specs import MAX_SOURCE_ADDRESSES, UserCertSpec
from ca.subject_keys import parse_ssh_public_key
from tests.support.security_keys import SecurityKey
from tests.support.software_agent import software_agent
from tests.support.sshd import Sshd, make_host_key, running_sshd
from tests.support.subjects import (
    EMAIL,
    ec_key,
    host_spec,
    private_openssh,
    public_line,
    user_spec,
)

CA = MemorySigner(name="trusted", signing_key=ssh.make_user_ca_key())


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    directory = tmp_path_factory.mktemp("sshd")
    with running_sshd(directory, [ssh.ca_public_line(CA)], ["mysocket_ssh_signed"]) as server:
        yield server


def _write_identity(
    directory: Path, key: Any, signer: MemorySigner = CA, **changes: Any
) -> tuple[Path, UserCertSpec]:
    spec = user_spec(
        datetime.now(UTC), public_key=parse_ssh_public_key(public_line(key)), **changes
    )
    identity = directory / "id"
    identity.touch(mode=0o600)
    identity.write_bytes(private_openssh(key))
    certificate = ssh.issue_user_certificate(signer, spec)
    (directory / "id-cert.pub").write_text(f"{certificate.line}\n")
    return identity, spec


def _login(
    sshd: Sshd, identity: Path, *command: str, known: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    known_hosts = identity.parent / "known_hosts"
    known_hosts.write_text(known or f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    options = more | {
        "IdentitiesOnly": "yes",
        "IdentityAgent": more.get("IdentityAgent", "none"),
        "BatchMode": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "CertificateFile": f"{identity}-cert.pub",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    target = ["-i", str(identity), "-p", str(sshd.port), f"{sshd.login}@127.0.0.1"]
    return subprocess.run(
        ["ssh", "-F", "none", *words, *target, *(command or ("echo", "in"))],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("networks", "enters"),
    [
        (("127.0.1.0/24", "2001:db8::/32"), True),
        (("127.0.1.7/32", "127.0.0.1/32", "::1/128"), True),
        (("192.0.2.0/24", "127.0.0.1/32", "::1/128"), False),
        (("127.0.1.0/30", "127.0.1.8/29"), False),
        (("::/0",), False),
        (("0.0.0.0/0",), True),
    ],
)
def test_sshd_takes_a_certificate_from_its_networks_alone(
    sshd: Sshd, tmp_path: Path, networks: tuple[str, ...], *, enters: bool
) -> None:
    """The client is at 127.0.1.7: all of 127.0.0.0/8 is this machine."""
    addresses = tuple(ip_network(text) for text in networks)
    identity, _ = _write_identity(tmp_path, ec_key(), source_addresses=addresses)
    result = _login(sshd, identity, BindAddress="127.0.1.7")
    assert (result.returncode == 0, result.stdout) == (enters, "in\n" if enters else "")
    if not enters:
        assert "Permission denied" in result.stderr
    # Behind a tunnel it is the tunnel's end that sshd sees.
    through = _login(sshd, identity)
    assert (through.returncode == 0) is ("127.0.0.1/32" in networks or networks == ("0.0.0.0/0",))


def test_sshd_reads_as_many_networks_as_a_certificate_may_name(sshd: Sshd, tmp_path: Path) -> None:
    base = int(IPv6Address("2001:db8:1234:5678:9abc:def0:1234:5678")) & ~1
    many = tuple(IPv6Network((base + 2 * at, 128)) for at in range(MAX_SOURCE_ADDRESSES - 1))
    here = ip_network("127.0.0.1/32")
    identity, _ = _write_identity(tmp_path, ec_key(), source_addresses=(*many, here))
    assert _login(sshd, identity).stdout == "in\n"
    assert _login(sshd, identity, BindAddress="127.0.1.7").returncode != 0


def test_ssh_keygen_shows_what_the_original_service_issued(tmp_path: Path) -> None:
    _, spec = _write_identity(tmp_path, ec_key())
    shown = subprocess.run(
        ["ssh-keygen", "-L", "-f", tmp_path / "id-cert.pub"],
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    lines = [line.strip() for line in shown.splitlines()]
    assert "Type: ecdsa-sha2-nistp256-cert-v01@openssh.com user certificate" in lines
    assert f'Key ID: "{EMAIL}"' in lines
    assert f"Serial: {spec.serial}" in lines
    principals = lines.index("Principals:")
    assert lines[principals + 1 : principals + 4] == [
        EMAIL,
        "mysocket_ssh_signed",
        "Critical Options: (none)",
    ]
    assert lines[lines.index("Extensions:") + 1 :] == [
        "permit-X11-forwarding",
        "permit-agent-forwarding",
        "permit-port-forwarding",
        "permit-pty",
        "permit-user-rc",
    ]
    [window] = [line for line in lines if line.startswith("Valid: from ")]
    start, end = window.removeprefix("Valid: from ").split(" to ")
    assert datetime.fromisoformat(end) - datetime.fromisoformat(start) == timedelta(minutes=10)


SUBJECTS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p256": ec_key,
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
}


@pytest.mark.parametrize("make_key", SUBJECTS.values(), ids=SUBJECTS.keys())
def test_sshd_accepts_every_kind_of_subject_key(
    sshd: Sshd, tmp_path: Path, make_key: Callable[[], Any]
) -> None:
    identity, spec = _write_identity(tmp_path, make_key())
    result = _login(sshd, identity)
    assert (result.returncode, result.stdout) == (0, "in\n"), result.stderr + sshd.log()
    assert f"ID {EMAIL} (serial {spec.serial}) CA ED25519" in sshd.log()


@pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
@pytest.mark.parametrize("touched", [True, False])
def test_a_security_key_logs_in_when_it_is_touched(
    sshd: Sshd, tmp_path: Path, key_type: str, *, touched: bool
) -> None:
    """The private half is in an agent; ``ssh`` has its public half and our certificate."""
    key, identity = SecurityKey(key_type), tmp_path / "id.pub"
    spec = user_spec(datetime.now(UTC), public_key=parse_ssh_public_key(key.line))
    identity.write_text(f"{key.line}\n")
    certificate = ssh.issue_user_certificate(CA, spec).line
    (tmp_path / "id.pub-cert.pub").write_text(f"{certificate}\n")
    before = len(sshd.log())
    with software_agent(key) as agent:
        agent.flags = USER_PRESENT if touched else 0
        result = _login(sshd, identity, IdentityAgent=str(agent.path))
    assert (result.returncode == 0) is touched, result.stderr + sshd.log()
    missing = "user presence (authenticator touch) requirement not met"
    assert (missing in sshd.log()[before:]) is not touched


def _host_certificate(directory: Path, signer: MemorySigner, *names: str) -> None:
    """A host key in ``directory`` and our certificate for it."""
    make_host_key(directory / "host_key")
    public = parse_ssh_public_key((directory / "host_key.pub").read_text())
    spec = host_spec(datetime.now(UTC), public_key=public, principals=names)
    issued = ssh.issue_host_certificate(signer, spec)
    (directory / "host_key-cert.pub").write_text(f"{issued.line}\n")


@pytest.mark.parametrize(("dialled", "known"), [("db.edge.localhost", True), ("other", False)])
def test_a_host_is_known_by_its_certificate(tmp_path: Path, dialled: str, *, known: bool) -> None:
    directory = tmp_path / "sshd"
    directory.mkdir()
    host_ca = MemorySigner(name="hosts", signing_key=ec_key())
    _host_certificate(directory, host_ca, "db.edge.localhost")
    extra = [f"HostCertificate {directory / 'host_key-cert.pub'}"]
    with running_sshd(directory, [ssh.ca_public_line(CA)], [EMAIL], extra) as sshd:
        identity, _ = _write_identity(tmp_path, ec_key())
        line = f"@cert-authority * {ssh.ca_public_line(host_ca)}\n"
        result = _login(sshd, identity, known=line, HostKeyAlias=dialled)
    assert (result.returncode == 0) is known, result.stderr
    assert ("Host key verification failed" in result.stderr) is not known


AUTHORITIES: dict[str, Callable[[], Any]] = {
    "p256": ec_key,
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
}


@pytest.mark.parametrize("make_key", AUTHORITIES.values(), ids=AUTHORITIES.keys())
def test_sshd_accepts_every_kind_of_ca_key(tmp_path: Path, make_key: Callable[[], Any]) -> None:
    signer = MemorySigner(name="other kind", signing_key=make_key())
    directory = tmp_path / "sshd"
    directory.mkdir()
    with running_sshd(directory, [ssh.ca_public_line(signer)], [EMAIL]) as sshd:
        identity, _ = _write_identity(tmp_path, ec_key(), signer)
        result = _login(sshd, identity)
        assert result.returncode == 0, result.stderr + sshd.log()


def _refused(sshd: Sshd, identity: Path) -> str:
    """Try to log in, expect to fail, and return what sshd said about it."""
    before = len(sshd.log())
    result = _login(sshd, identity)
    assert result.returncode == 255
    assert "Permission denied (publickey)" in result.stderr
    return sshd.log()[before:]


def test_sshd_refuses_an_expired_certificate(sshd: Sshd, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    identity, _ = _write_identity(
        tmp_path,
        ec_key(),
        not_before=now - timedelta(minutes=10),
        not_after=now - timedelta(seconds=1),
    )
    assert "Certificate invalid: expired" in _refused(sshd, identity)


def test_sshd_refuses_a_certificate_of_the_future(sshd: Sshd, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    identity, _ = _write_identity(
        tmp_path,
        ec_key(),
        not_before=now + timedelta(minutes=5),
        not_after=now + timedelta(minutes=10),
    )
    assert "Certificate invalid: not yet valid" in _refused(sshd, identity)


def test_sshd_refuses_the_ca_of_another_socket(sshd: Sshd, tmp_path: Path) -> None:
    other = MemorySigner(name="other", signing_key=ssh.make_user_ca_key())
    identity, _ = _write_identity(tmp_path, ec_key(), other)
    _refused(sshd, identity)


def test_sshd_refuses_principals_that_are_not_listed(sshd: Sshd, tmp_path: Path) -> None:
    identity, _ = _write_identity(tmp_path, ec_key(), principals=(EMAIL,))
    assert "Certificate does not contain an authorized principal" in _refused(sshd, identity)


def test_sshd_refuses_the_bare_key(sshd: Sshd, tmp_path: Path) -> None:
    identity, _ = _write_identity(tmp_path, ec_key())
    (tmp_path / "id-cert.pub").unlink()
    _refused(sshd, identity)


def test_sshd_refuses_the_certificate_with_somebody_elses_key(sshd: Sshd, tmp_path: Path) -> None:
    identity, _ = _write_identity(tmp_path, ec_key())
    identity.write_bytes(private_openssh(ec_key()))
    _refused(sshd, identity)


def test_sshd_obeys_a_forced_command(sshd: Sshd, tmp_path: Path) -> None:
    identity, _ = _write_identity(
        tmp_path,
        ec_key(),
        extensions={"permit-pty": ""},
        critical_options={"force-command": "echo forced"},
    )
    assert _login(sshd, identity, "echo", "in").stdout == "forced\n"

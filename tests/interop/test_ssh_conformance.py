"""The conformance matrix: what OpenSSH makes of certificates, ours and those nobody should make."""

import asyncio
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path

import pytest

from ca import errors, ssh
from ca.formats.krl import Krl, RevokedByCa
from ca.formats.ssh_keys import SK_ED25519
from ca.formats.ssh_lint import Profile, lint
from ca.signers import MemorySigner
from ca.specs import HostCertSpec, UserCertSpec
from ca.subject_keys import parse_ssh_public_key
from tests.support import conformance, conformance_page
from tests.support.conformance import (
    OUR_CAS,
    PRINCIPALS,
    SERIAL,
    TRUSTED_CAS,
    Case,
    Certificate,
    authority,
    forge,
    login_algorithm,
    subject,
)
from tests.support.conformance_hosts import HOST_CASES
from tests.support.conformance_users import USER_CASES
from tests.support.inetd_sshd import InetdSshd
from tests.support.raw_ssh import Outcome, RawIdentity, log_in, raw_host

Servers = dict[str, InetdSshd]
DOCUMENTED = "OpenSSH_9.2"
"""What the page is about. Others are held to what we issue, not to each word and oddity."""


@pytest.fixture(scope="module")
def documented() -> bool:
    """Whether the installed OpenSSH is that of the page."""
    return subprocess.run(
        ["ssh", "-V"], capture_output=True, text=True, check=True
    ).stderr.startswith(DOCUMENTED)


def _skip_unless(documented: bool, case: Case) -> None:
    if case.rule and not documented:
        pytest.skip(f"not issued here, and the page is about {DOCUMENTED}")


@pytest.fixture(scope="module")
def revoked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("krl") / "revoked"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, revoked: Path) -> Servers:
    directory = tmp_path_factory.mktemp("sshd")
    trusted = [authority(name).public.line for name in TRUSTED_CAS]
    listed, forced = PRINCIPALS[1:], (f'command="echo listed" {PRINCIPALS[1]}',)
    variants = {
        "usual": (listed, ()),
        "login names": ((), ("AuthorizedPrincipalsFile none",)),
        "forced principal": (forced, ()),
        "untouched principal": ((f"no-touch-required {PRINCIPALS[1]}",), ()),
        "revocation": (listed, (f"RevokedKeys {revoked}",)),
    }
    return {
        name: InetdSshd.make(directory / name.replace(" ", "-"), trusted, principals, extra)
        for name, (principals, extra) in variants.items()
    }


def issue(certificate: Certificate, now: datetime) -> bytes:
    """The certificate from our CA, by its own ways."""
    signer = MemorySigner(
        name=certificate.authority, signing_key=authority(certificate.authority).private
    )
    start, end = (datetime.fromtimestamp(at, UTC) for at in certificate.valid(now))
    common = {
        "public_key": parse_ssh_public_key(subject(certificate.subject).public.line),
        "key_id": certificate.key_id,
        "principals": certificate.principals,
        "serial": certificate.serial,
        "not_before": start,
        "not_after": end,
    }
    if certificate.kind == "host":
        return ssh.issue_host_certificate(signer, HostCertSpec(**common)).blob
    options = {name.decode(): value.decode() for name, value in certificate.critical}
    named = options.pop("source-address", None)
    stated = {
        "critical_options": options,
        "source_addresses": named and tuple(map(ip_network, named.split(","))),
        "extensions": {name.decode(): value.decode() for name, value in certificate.extensions},
    }
    return ssh.issue_user_certificate(signer, UserCertSpec(**common, **stated)).blob


def made(case: Case) -> bytes:
    """The certificate of a case: issued, or forged and named by the linter."""
    now = conformance.now()
    if not case.rule:
        return issue(case.certificate, now)
    blob = forge(case.certificate, now)
    if case.rule == "spec-invalid":
        with pytest.raises(errors.SpecError):
            issue(case.certificate, now)
    elif case.rule != "no-signer":
        assert case.rule in {finding.rule for finding in lint(blob, profile=Profile.OURS)}
    return blob


def shown(case: Case, blob: bytes) -> RawIdentity:
    """What the client of a case comes with."""
    holder = subject(case.certificate.subject)
    algorithm, sign = login_algorithm(holder.public), holder.sign
    if holder.public.is_security_key:
        return RawIdentity(
            algorithm, blob, lambda data: holder.private.sign(data, flags=case.flags)
        )
    if case.proof == "other key":
        sign = authority("Other Ed25519").sign
    if case.proof in ("no certificate", "the CA's key"):
        key = holder if case.proof == "no certificate" else authority("Ed25519")
        return RawIdentity("ssh-ed25519", key.public.blob, key.sign)
    return RawIdentity(algorithm, blob, sign)


def write_krl(path: Path, name: str) -> None:
    """Put the list of that name in place, or none."""
    ca, key = authority("Ed25519").public.blob, subject("ssh-ed25519").public.blob
    other = authority("Other Ed25519").public.blob
    lists = {
        "serial": Krl(certificates=(RevokedByCa.of_serials(ca, [SERIAL]),)),
        "a range of serials": Krl(
            certificates=(RevokedByCa(ca=ca, serials=((SERIAL - 9, SERIAL + 9),)),)
        ),
        "key id": Krl(certificates=(RevokedByCa(ca=ca, key_ids=(conformance.KEY_ID.encode(),)),)),
        "key": Krl(keys=(key,)),
        "fingerprint": Krl(sha256=(sha256(key).digest(),)),
        "the CA's key": Krl(keys=(ca,)),
        "others": Krl(
            keys=(other,),
            certificates=(RevokedByCa(ca=ca, serials=((1, SERIAL - 1), (SERIAL + 1, 2**64 - 1))),),
        ),
        "another CA": Krl(certificates=(RevokedByCa.of_serials(other, [SERIAL]),)),
        "serial 1": Krl(certificates=(RevokedByCa.of_serials(ca, [1]),)),
        "nothing": Krl(),
    }
    path.unlink(missing_ok=True)
    if name == "cut short":
        path.write_bytes(lists["serial"].encode()[:-3])
    elif name != "missing":
        path.write_bytes(lists[name].encode())


@pytest.mark.parametrize("case", USER_CASES, ids=conformance.names(USER_CASES))
async def test_sshd_on_user_certificates(
    case: Case, servers: Servers, revoked: Path, tmp_path: Path, *, documented: bool
) -> None:
    _skip_unless(documented, case)
    if case.krl:
        write_krl(revoked, case.krl)
    server = servers["revocation" if case.krl else case.server]
    identity = shown(case, made(case))
    log = tmp_path / "sshd.log"
    async with server.connection(log) as connected:
        outcome = await log_in(connected, server.login, identity, case.wish)
    said = log.read_text()
    assert outcome == Outcome(accepted=case.accepted, works=case.accepted and case.works), said
    assert case.says in said or not documented, said


async def _dial(case: Case, port: int, directory: Path) -> tuple[bool, str]:
    """Whether OpenSSH's client knows the host it reaches, and what it says."""
    krl = directory / "revoked"
    lines = [f"@cert-authority *.edge.localhost {authority(name).public.line}" for name in OUR_CAS]
    if case.krl == "@revoked":
        lines.append(f"@revoked * {authority('Ed25519').public.line}")
    elif case.krl:
        write_krl(krl, case.krl)
    (directory / "known_hosts").write_text("".join(f"{line}\n" for line in lines))
    options = {
        "HostKeyAlias": case.dialled,
        "UserKnownHostsFile": str(directory / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "RevokedHostKeys": str(krl) if krl.exists() or case.krl == "missing" else "none",
        "BatchMode": "yes",
        "PubkeyAuthentication": "no",
        "IdentityAgent": "none",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    process = await asyncio.create_subprocess_exec(
        *["ssh", "-v", "-F", "none", *words, "-p", str(port), "nobody@127.0.0.1"],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, said = await process.communicate()
    return b"Permission denied" in said, said.decode()


@pytest.mark.parametrize("case", HOST_CASES, ids=conformance.names(HOST_CASES))
async def test_ssh_on_host_certificates(case: Case, tmp_path: Path, *, documented: bool) -> None:
    _skip_unless(documented, case)
    async with raw_host(shown(case, made(case))) as port:
        accepted, said = await _dial(case, port, tmp_path)
    assert accepted is case.accepted, said
    assert case.says in said or not documented, said


def test_the_page_shows_the_matrix() -> None:
    """Written by ``python -m tests.support.conformance_page``."""
    assert conformance_page.PATH.read_text() == conformance_page.page()


def test_every_kind_of_ours_is_in_the_matrix() -> None:
    accepted = [case for case in USER_CASES if case.accepted and not case.rule]
    assert {case.certificate.authority for case in accepted} == set(OUR_CAS)
    assert SK_ED25519 in {case.certificate.subject for case in accepted}
    assert len(set(conformance.names(USER_CASES))) == len(USER_CASES)

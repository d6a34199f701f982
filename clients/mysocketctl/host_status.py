"""What an enrolled server's sshd goes by, and what is wrong with it, from its own files alone."""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ca.formats.errors import FormatError
from ca.formats.host_messages import CLOCK_TOLERANCE_SECONDS
from ca.formats.krl import Krl, parse_krl
from ca.formats.krl_serials import MAX_SERIAL
from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from ca.formats.ssh_keys import KeyBlob
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.host_files import HostDirectory, HostState

_EVERY_SERIAL = (1, MAX_SERIAL)
_LAST_YEAR = 253_402_300_800
"""Year 10000: what ends later, as certificates without an end do, has no date."""


def standing(
    files: HostDirectory, state: HostState, *, max_age: int
) -> tuple[dict[str, object], str]:
    """What there is to say, and what is wrong with it; empty if nothing is."""
    wrong: list[str] = []
    age = int(time.time()) - state.synced_at
    if age > max_age:
        wrong.append(f"the last news are {age} s old" if state.synced_at else "never synchronised")
    if age < -CLOCK_TOLERANCE_SECONDS:
        # Such news would count as fresh until then, however long none came.
        wrong.append(f"the last news are of {-age} s from now: this server's clock went back")
    krl = _revoked(files, wrong)
    certificate = _certificate(files, krl, wrong)
    untold = files.untold_serial(state)
    if untold:
        wrong.append(
            "sshd was not told of its new certificate; run: mysocketctl host sync --on-renewal ..."
        )
    trusted = files.trusted_cas()
    revoked = [ca.fingerprint for ca in trusted if krl is not None and _is_revoked(krl, ca)]
    if not trusted:
        wrong.append("no user CA is trusted")
    elif len(revoked) == len(trusted):
        wrong.append("all certificates of every trusted user CA are revoked: nobody can log in")
    wrong += (
        f"sshd lets {login} in by no certificate, for as {login} it cannot read {path}; "
        "directories need mode 0755, files 0644"
        for login, path in unreadable_principals(files)
    )
    facts = {
        "host_id": state.host_id,
        "dns_name": state.dns_name,
        "gateway": state.gateway,
        "bundle": state.number,
        "seconds_since_news": max(0, age) if state.synced_at else None,
        "certificate_ends": certificate and _spelled(certificate.valid_before),
        "sshd_told": not untold,
        "revoked_certificates": None if krl is None else _count(krl),
        "revoked_cas": revoked,
        "trusted_cas": [ca.fingerprint for ca in trusted],
    }
    return facts, "; ".join(wrong)


def _revoked(files: HostDirectory, wrong: list[str]) -> Krl | None:
    try:
        return parse_krl(files.revoked.read_bytes())
    except (OSError, FormatError) as error:
        wrong.append(f"{files.revoked} is unreadable, so sshd refuses everybody: {error}")
        return None


def _count(krl: Krl) -> int:
    """Certificates that are named one by one, not with all others of their CA."""
    ranges = (each for ca in krl.certificates for each in ca.serials)
    return sum(last - first + 1 for first, last in ranges if (first, last) != _EVERY_SERIAL)


def _is_revoked(krl: Krl, ca: KeyBlob) -> bool:
    """Whether a CA's key is named, or every certificate it can make."""
    return krl.revokes_key(ca.blob) or any(
        entry.ca in {b"", ca.blob} and _EVERY_SERIAL in entry.serials for entry in krl.certificates
    )


def _certificate(files: HostDirectory, krl: Krl | None, wrong: list[str]) -> SshCertificate | None:
    try:
        certificate = parse_certificate_line(files.present_certificate())
    except (FormatError, InvalidInput):
        wrong.append("there is no readable host certificate")
        return None
    if certificate.valid_before <= time.time():
        wrong.append("the host certificate has expired")
    if krl is not None and krl.revokes_certificate(
        ca=certificate.signature_key,
        serial=certificate.serial,
        key_id=certificate.key_id,
        subject=certificate.key_blob.blob,
    ):
        wrong.append("the host certificate is revoked; run: mysocketctl host enrol")
    return certificate


def _spelled(ends: int) -> str:
    if ends >= _LAST_YEAR:
        return "never"
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))


def unreadable_principals(files: HostDirectory) -> Iterator[tuple[str, Path]]:
    """Logins whose principals sshd, which reads them as that login, cannot read.

    Only root can try, and only for logins that are known on this machine; of others none is named.
    """
    if os.geteuid() != 0:
        return
    try:
        found = sorted(files.principals.iterdir())
    except OSError:
        return
    for path in found:
        try:
            account = pwd.getpwnam(path.name)
        except KeyError:
            continue
        if account.pw_uid != 0 and not _can_read(account, path):
            yield path.name, path


def _can_read(account: pwd.struct_passwd, path: Path) -> bool:
    """Whether the account can; also where it cannot be tried."""
    try:
        done = subprocess.run(
            ["/usr/bin/test", "-r", path],
            stdin=subprocess.DEVNULL,
            cwd="/",
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=os.getgrouplist(account.pw_name, account.pw_gid),
            check=False,
        )
    except OSError:
        return True
    return done.returncode == 0

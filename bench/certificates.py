"""Certificates a second in one process, against ``ssh-keygen`` and ``openssl`` beside it.

Ours is the whole way of a request: the submitted key is vetted, a spec made, the certificate
signed, read back and linted. The peers only sign. ``ssh-keygen`` is measured as a CA calls it, one
process a certificate, and at its best, many keys in one call.
"""

import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.figures import Figure, table
from ca import ssh, x509
from ca.serials import ssh_serial, x509_serial
from ca.signers import MemorySigner
from ca.specs import CaCertSpec, ClientCertSpec, UserCertSpec
from ca.subject_keys import parse_csr, parse_ssh_public_key

EMAIL = "alice@example.com"
DRIFT = timedelta(minutes=5)
KEYS_PER_CALL = 100


def run(quick: bool) -> list[tuple[str, float, str, str, float]]:
    """Measure; rows as ``bench.figures.Figure``."""
    seconds = 0.5 if quick else 3.0
    with tempfile.TemporaryDirectory(prefix="bench-ca-") as text:
        directory = Path(text)
        return [*_ssh_rows(directory, seconds), *_x509_rows(directory, seconds)]


def main() -> None:
    print(table([Figure(*row) for row in run(quick=False)]))


def _rate(step: Callable[[], object], seconds: float, per_step: int = 1) -> float:
    """How often a second ``step`` gets done, after once for warmth."""
    step()
    done, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds or not done:
        step()
        done += per_step
    return done / elapsed


def _quietly(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SshRates:
    """SSH certificates a second by one process, nothing recorded."""

    ours: float
    keygen: float
    """``ssh-keygen -s``, one certificate a call."""
    keygen_many: float
    """… ``KEYS_PER_CALL`` a call."""


def ssh_rates(directory: Path, seconds: float) -> SshRates:
    """Sign for ``seconds`` in each way."""
    key = ssh.make_user_ca_key()
    signer = MemorySigner(name="bench", signing_key=key)
    ca_file = directory / "ca"
    ca_file.touch(mode=0o600)
    ca_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    subject = ec.generate_private_key(ec.SECP256R1()).public_key()
    line = subject.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode("ascii")
    files = [directory / f"{number}.pub" for number in range(KEYS_PER_CALL)]
    for file in files:
        file.write_text(line)

    def issue() -> None:
        now = datetime.now(UTC)
        spec = UserCertSpec(
            public_key=parse_ssh_public_key(line),
            key_id=EMAIL,
            principals=(EMAIL, "mysocket_ssh_signed"),
            serial=ssh_serial(),
            not_before=now - DRIFT,
            not_after=now + DRIFT,
        )
        ssh.issue_user_certificate(signer, spec)

    keygen = ["ssh-keygen", "-q", "-s", ca_file, "-I", EMAIL, "-z", "7", "-V", "-5m:+5m"]
    keygen += ["-n", f"{EMAIL},mysocket_ssh_signed"]
    return SshRates(
        ours=_rate(issue, seconds),
        keygen=_rate(lambda: _quietly(*keygen, files[0]), seconds),
        keygen_many=_rate(lambda: _quietly(*keygen, *files), seconds, len(files)),
    )


def _ssh_rows(directory: Path, seconds: float) -> list[tuple[str, float, str, str, float]]:
    rates = ssh_rates(directory, seconds)
    many = f"ssh-keygen -s, {KEYS_PER_CALL} a call"
    ours = rates.ours
    return [
        ("SSH certificates", ours, "/s", "ssh-keygen -s, one a call", ours / rates.keygen),
        ("SSH certificates", ours, "/s", many, ours / rates.keygen_many),
    ]


def _x509_issuer(directory: Path) -> x509.Issuer:
    now = datetime.now(UTC)
    key = x509.make_ca_key()
    signer = MemorySigner(name="bench", signing_key=key)
    spec = CaCertSpec(
        common_name="bench",
        serial=x509_serial(),
        not_before=now - DRIFT,
        not_after=now + timedelta(days=1),
    )
    issuer = x509.make_root(signer, spec)
    (directory / "ca.pem").write_bytes(issuer.pem)
    ca_key = directory / "ca.key"
    ca_key.touch(mode=0o600)
    ca_key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return issuer


def _x509_rows(directory: Path, seconds: float) -> list[tuple[str, float, str, str, float]]:
    issuer = _x509_issuer(directory)
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        cryptography_x509.CertificateSigningRequestBuilder()
        .subject_name(cryptography_x509.Name([]))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (directory / "leaf.csr").write_bytes(request)
    (directory / "leaf.cnf").write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        "extendedKeyUsage=clientAuth\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        f"subjectAltName=URI:urn:mysocket:socket:s-1:1,email:{EMAIL}\n"
    )

    def issue() -> None:
        now = datetime.now(UTC)
        spec = ClientCertSpec(
            public_key=parse_csr(request),
            email=EMAIL,
            socket_id="s-1",
            epoch=1,
            serial=x509_serial(),
            not_before=now - DRIFT,
            not_after=now + DRIFT,
        )
        _ = x509.issue_client_certificate(issuer, spec).pem

    openssl = ["openssl", "x509", "-req", "-days", "1", "-sha256", "-subj", f"/CN={EMAIL}"]
    openssl += ["-in", directory / "leaf.csr", "-extfile", directory / "leaf.cnf"]
    openssl += ["-CA", directory / "ca.pem", "-CAkey", directory / "ca.key"]
    openssl += ["-out", directory / "leaf.pem"]
    ours = _rate(issue, seconds)
    each = _rate(lambda: _quietly(*openssl), seconds)
    return [("X.509 client certificates", ours, "/s", "openssl x509 -req", ours / each)]


if __name__ == "__main__":
    main()

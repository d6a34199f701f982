"""``ssh-lint``: says what is wrong with an SSH certificate."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from ca.formats.errors import CertificateFormatError
from ca.formats.ssh_certificate import SshCertificate, parse_certificate_line
from ca.formats.ssh_lint import Finding, Profile, lint, lint_certificate
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import read_named, shown_name
from clients.mysocketctl.names import printable

MAX_FILE_BYTES = 16 * 1024 * 1024
"""Tens of thousands of certificates."""
_MARK = b"-cert-v01@openssh.com"
"""Is in the type of every certificate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linted:
    """One line of a file and what the linter says about it."""

    file: str
    line: int
    certificate: SshCertificate | None
    findings: tuple[Finding, ...]


@click.command(name="ssh-lint")
@click.argument("files", metavar="FILE…", nargs=-1, required=True)
@click.option(
    "--profile",
    type=click.Choice([profile.value for profile in Profile]),
    default=Profile.GENERAL.value,
    show_default=True,
    help="general: any certificate for any OpenSSH; mysocket: what this product issues.",
)
@click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")
def ssh_lint(files: Sequence[str], profile: str, *, as_json: bool) -> int:
    """Say what is wrong with SSH certificates.

    FILE holds one certificate a line, as ssh-keygen writes them; - reads standard input. The exit
    code is 0 if nothing is wrong, 1 if something is, 2 if something is no readable certificate.
    """
    linted = [one for name in files for one in _lint_file(name, Profile(profile))]
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in linted], indent=2))
    else:
        for one in linted:
            _show(one)
    unreadable = sum(one.certificate is None for one in linted)
    if unreadable:
        raise InvalidInput(f"{unreadable} of {len(linted)} are no readable certificates")
    return int(any(one.findings for one in linted))


def _lint_file(name: str, profile: Profile) -> Iterator[_Linted]:
    """What is in the file, line by line.

    Raises:
        InvalidInput: the file cannot be read, is too large, or holds nothing.
    """
    content = read_named(name, MAX_FILE_BYTES)
    lines = [
        (number, line)
        for number, line in enumerate(content.split(b"\n"), start=1)
        if line.strip() and not line.lstrip().startswith(b"#")
    ]
    if not lines:
        raise InvalidInput(f"{shown_name(name)} holds no certificate")
    if b"\0" in content or (len(lines) > 1 and _MARK not in content):
        # Said once of the file: it may have thousands of lines.
        yield _of_no_certificates(shown_name(name), is_binary=b"\0" in content)
        return
    for number, line in lines:
        yield _lint_line(shown_name(name), number, line, profile)


def _of_no_certificates(file: str, *, is_binary: bool) -> _Linted:
    message = "it is a binary file" if is_binary else "no line of it is a certificate"
    finding = Finding(rule="not-a-certificate", message=message)
    return _Linted(file=file, line=1, certificate=None, findings=(finding,))


def _lint_line(file: str, number: int, line: bytes, profile: Profile) -> _Linted:
    try:
        certificate = parse_certificate_line(line)
    except CertificateFormatError:
        findings = lint(line, profile=profile)
        return _Linted(file=file, line=number, certificate=None, findings=findings)
    findings = lint_certificate(certificate, profile=profile)
    return _Linted(file=file, line=number, certificate=certificate, findings=findings)


def _show(one: _Linted) -> None:
    click.echo(f"{one.file}:{one.line}: {_headline(one)}")
    for finding in one.findings:
        message = printable(finding.message)
        click.echo(f"  {finding.severity.value} {finding.rule}: {message}")


def _headline(one: _Linted) -> str:
    if one.certificate is None:
        return "not readable"
    kind = f"{one.certificate.kind} certificate"
    name = _text(one.certificate.key_id) or "(no key id)"
    verdict = "" if one.findings else ", nothing to complain about"
    return printable(f"{kind} {name} (serial {one.certificate.serial}){verdict}")


def _as_json(one: _Linted) -> dict[str, Any]:
    certificate = one.certificate
    return {
        "file": one.file,
        "line": one.line,
        "kind": certificate and certificate.kind,
        "key_id": certificate and _text(certificate.key_id),
        "serial": certificate and certificate.serial,
        "subject": certificate and certificate.fingerprint,
        "ca": certificate and certificate.ca_fingerprint,
        "findings": [asdict(finding) for finding in one.findings],
    }


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")

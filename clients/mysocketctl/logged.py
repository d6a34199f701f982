"""A certificate as the transparency log knows it: read from a file, whatever its kind."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from ca.formats.errors import FormatError
from ca.formats.ssh_certificate import parse_certificate_line
from clients.mysocketctl.api import Json
from clients.mysocketctl.errors import InvalidInput
from clients.mysocketctl.files import read_small
from clients.mysocketctl.names import printable

_PEM = "-----BEGIN CERTIFICATE-----"
_SMALL = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCertificate:
    """What the log needs to know of a certificate."""

    kind: Literal["ssh", "x509"]
    serial: str
    """As the gateway spells it: decimal for SSH, lower-case hex for X.509."""
    content: bytes
    """SSH blob, or X.509 DER."""

    def is_in(self, text: Json) -> bool:
        """Whether ``text``, as the gateway keeps certificates, is this very certificate."""
        try:
            return isinstance(text, str) and parse_certificate(text).content == self.content
        except InvalidInput:
            return False


def read_certificate(name: str) -> LoggedCertificate:
    """The certificate in a file, ``-`` for standard input. Raises InvalidInput."""
    text = sys.stdin.read(_SMALL) if name == "-" else read_small(Path(name))
    if text is None:
        raise InvalidInput(f"there is no file {printable(name)}")
    try:
        return parse_certificate(text)
    except InvalidInput as error:
        raise InvalidInput(f"{printable(name)}: {error}") from error


def parse_certificate(text: str) -> LoggedCertificate:
    """One SSH certificate line, or the first PEM certificate. Raises InvalidInput."""
    try:
        if _PEM in text:
            leaf = x509.load_pem_x509_certificate(text[text.index(_PEM) :].encode())
            der = leaf.public_bytes(serialization.Encoding.DER)
            serial = format(leaf.serial_number, "x")
            return LoggedCertificate(kind="x509", serial=serial, content=der)
        certificate = parse_certificate_line(text.strip())
    except (FormatError, ValueError, x509.InvalidVersion) as error:
        raise InvalidInput("neither an SSH certificate nor a PEM certificate") from error
    return LoggedCertificate(kind="ssh", serial=str(certificate.serial), content=certificate.blob)

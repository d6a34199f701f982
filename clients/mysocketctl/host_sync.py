"""``host enrol`` and ``host sync``: this server's sshd, told by its gateway whom to trust.

Nothing is installed that does not verify: a bundle counts only signed by the key learnt at the
enrolment, for this host, in answer to this question, and not older than what was installed; and a
certificate only if its proof from the transparency log holds. Whom to lock out and whom to trust
does not wait for that proof: the bundle's signature is enough for it.
"""

import contextlib
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key

from ca.formats.errors import FormatError
from ca.formats.host_messages import (
    BUNDLE_NAMESPACE,
    ENROL_NAMESPACE,
    SYNC_NAMESPACE,
    Bundle,
    EnrolStatement,
    SyncStatement,
    parse_bundle,
)
from ca.formats.krl import Krl, parse_krl
from ca.formats.ssh_certificate import HOST, parse_certificate_line, verify
from ca.formats.ssh_keys import PrivateKey, blob_of, parse_key_blob, parse_key_line
from ca.formats.sshsig import make_sshsig, verify_sshsig
from clients.mysocketctl.api import GatewayApi, Json, segment, text_field
from clients.mysocketctl.errors import (
    BundleRefused,
    ClientError,
    InvalidInput,
    ProtocolViolation,
)
from clients.mysocketctl.files import read_small
from clients.mysocketctl.host_files import HostDirectory, HostState, install
from clients.mysocketctl.log_trust import LogTrust
from clients.mysocketctl.names import parse_host_name, printable
from clients.mysocketctl.settings import Settings

HOST_KEYS = tuple(Path(f"/etc/ssh/ssh_host_{kind}_key") for kind in ("ed25519", "ecdsa", "rsa"))
"""Where sshd's own host keys are, the first one that exists is enrolled."""
EVERYBODY = "mysocket_ssh_signed"
"""The principal that every login certificate of the socket has."""
_COMMAND_SECONDS = 60
_UNQUOTABLE = frozenset("\"'\\")
_ROUNDS = 2
_MAX_HOST_ID = 64


OpenTrust = Callable[[], LogTrust]
"""What is kept of the log is read where a certificate came, and only there."""


@dataclass(frozen=True, slots=True)
class HostKey:
    """A server's private host key."""

    path: Path
    private: PrivateKey

    @property
    def line(self) -> str:
        """The public half, ``type base64``."""
        return parse_key_blob(blob_of(self.private.public_key())).line


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a synchronisation came to."""

    state: HostState
    bundle: Bundle
    renewed: bool
    """Whether a new host certificate was installed, which sshd reads when it is reloaded."""


def load_host_key(path: Path | None) -> HostKey:
    """The host key at ``path``, or the first of sshd's own. Raises InvalidInput."""
    found = path or next((one for one in HOST_KEYS if one.exists()), HOST_KEYS[0])
    text = read_small(found)
    if text is None:
        raise InvalidInput(f"there is no host key {found}")
    load = load_ssh_private_key if "OPENSSH PRIVATE KEY" in text else load_pem_private_key
    try:
        private = load(text.encode(), None)
        key = HostKey(found.absolute(), private)  # type: ignore[arg-type]
        key.line  # noqa: B018 - refuses what SSH has no type for
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise InvalidInput(f"{found} is no private host key without a password") from error
    return key


def enrol(
    api: GatewayApi,
    directory: HostDirectory,
    *,
    settings: Settings,
    socket_id: str,
    name: str,
    principals: Sequence[str],
    host_key: HostKey,
) -> HostState:
    """Have the host certified, and keep what ``sync`` needs. Raises ClientError.

    Whoever enrols it has sshd read the first certificate too.
    """
    statement = EnrolStatement(
        socket_id=socket_id,
        host_key=host_key.line,
        principals=tuple(principals),
        at=int(time.time()),
    )
    proof = make_sshsig(host_key.private, statement.signed, ENROL_NAMESPACE)
    answer = api.post(
        f"/socket/{segment(socket_id)}/host",
        {
            "name": name,
            "host_key": statement.host_key,
            "principals": list(statement.principals),
            "at": statement.at,
            "proof": proof,
        },
    )
    directory.make()
    with directory.alone():
        state = _state(answer, socket_id, host_key, api.base, settings.ca_file)
        trust = partial(LogTrust, settings, api, directory=directory.path)
        line = _first_certificate(answer, host_key, trust)
        _install_first_files(directory, line)
        return directory.write_state(state, told_serial=directory.untold_serial(state))


def sync(
    api: GatewayApi,
    directory: HostDirectory,
    *,
    settings: Settings,
    on_renewal: str | None = None,
) -> Synced:
    """Ask for news and install them; ask again at once where the gateway waits to hear of it.

    ``on_renewal`` runs while sshd was not told of the present certificate: a failure is made up for
    by the next synchronisation, even by one that fails itself.

    Raises ClientError; whatever did not verify was not installed, and the files of before stay.
    """
    try:
        with directory.alone():
            trust = partial(LogTrust, settings, api, directory=directory.path)
            outcome = _sync_once(api, directory, trust)
            for _ in range(_ROUNDS - 1):
                if outcome.trusts_others:
                    outcome = _sync_once(api, directory, trust, renewed=outcome.synced.renewed)
    except ClientError:
        # What went wrong first is what is said; ``host status`` goes on saying the other.
        with contextlib.suppress(ClientError):
            _tell(directory, on_renewal)
        raise
    _tell(directory, on_renewal)
    return outcome.synced


def _tell(directory: HostDirectory, on_renewal: str | None) -> None:
    serial = directory.untold_serial(directory.read_state())
    if not serial or not on_renewal:
        return
    # Without the lock: the command may take its time, and may ask for the status itself.
    _run(on_renewal)
    with directory.alone():
        directory.write_state(directory.read_state(), told_serial=serial)


@dataclass(frozen=True, slots=True)
class _Round:
    synced: Synced
    trusts_others: bool


def _sync_once(
    api: GatewayApi, directory: HostDirectory, trust: OpenTrust, *, renewed: bool = False
) -> _Round:
    state = directory.read_state()
    key = load_host_key(Path(state.host_key))
    before = directory.trusted_fingerprints()
    statement = SyncStatement(
        host_id=state.host_id,
        nonce=secrets.token_hex(16),
        at=int(time.time()),
        number=state.number,
        trusted_cas=before,
        certificate=directory.present_certificate(),
    )
    answer = _ask(api, statement, key)
    bundle = _verified(answer, state)
    lines = _checked(bundle, state, statement)
    state = _install_lists(directory, state, bundle, lines)
    if bundle.host_certificate:
        _check_renewal(bundle, key, answer, trust)
        if install(directory.certificate, f"{bundle.host_certificate}\n"):
            # Also of one it was told of before: it may have been reloaded without since.
            renewed, state = True, directory.write_state(state, told_serial="")
    # Only now: until everything went well ``host status`` goes on to say that it did not.
    state = directory.write_state(state, synced_at=int(time.time()))
    synced = Synced(state=state, bundle=bundle, renewed=renewed)
    return _Round(synced, directory.trusted_fingerprints() != before)


def _install_lists(
    directory: HostDirectory, state: HostState, bundle: Bundle, lines: Sequence[str]
) -> HostState:
    """Install what the bundle's signature alone vouches for: who is locked out first, then who is
    let in.
    """
    install(directory.revoked, bundle.krl)
    install(directory.user_cas, _text(lines))
    install(directory.known_hosts, known_hosts_lines(bundle))
    return directory.write_state(
        state, number=bundle.number, issued_at=bundle.issued_at, dns_name=bundle.dns_name
    )


def known_hosts_lines(bundle: Bundle) -> str:
    """What clients add to ``known_hosts`` to trust the hosts of this socket."""
    names = f"{bundle.dns_name},*.{bundle.dns_name},{bundle.dns_name}.mysocket-dummy"
    return _text([f"@cert-authority {names} {line}" for line in bundle.host_cas])


def sshd_directives(directory: HostDirectory) -> str:
    """What sshd's configuration says to go by the files of the directory.

    Raises InvalidInput for one whose name that configuration cannot hold.
    """
    path = str(directory.path)
    if not path.isascii() or not path.isprintable() or not _UNQUOTABLE.isdisjoint(path):
        raise InvalidInput(
            f"sshd's configuration cannot name the directory {printable(path)!r}: "
            "take one without quotes, backslashes and other than ASCII characters"
        )
    # Of these only the last has tokens that begin with a percent sign (sshd_config(5)).
    principals = str(directory.principals).replace("%", "%%")
    return _text(
        [
            "# Written by: mysocketctl host enrol",
            f'HostCertificate "{directory.certificate}"',
            f'TrustedUserCAKeys "{directory.user_cas}"',
            f'RevokedKeys "{directory.revoked}"',
            f'AuthorizedPrincipalsFile "{principals}/%u"',
        ]
    )


def _ask(api: GatewayApi, statement: SyncStatement, key: HostKey) -> Json:
    signature = make_sshsig(key.private, statement.signed, SYNC_NAMESPACE)
    return api.post(
        "/hosts/sync",
        {
            "host_id": statement.host_id,
            "nonce": statement.nonce,
            "at": statement.at,
            "number": statement.number,
            "trusted_cas": list(statement.trusted_cas),
            "certificate": statement.certificate,
            "signature": signature,
        },
    )


def _verified(answer: Json, state: HostState) -> Bundle:
    text = text_field(answer, "bundle")
    try:
        signer = verify_sshsig(
            text_field(answer, "signature"), text.encode("utf-8"), BUNDLE_NAMESPACE
        )
        if signer.blob != parse_key_line(state.bundle_key).blob:
            raise BundleRefused("the bundle is not signed by the gateway this host was enrolled at")
        return parse_bundle(text)
    except (FormatError, UnicodeEncodeError) as error:
        raise _does_not_hold(error) from error


def _checked(bundle: Bundle, state: HostState, statement: SyncStatement) -> tuple[str, ...]:
    """The CAs of the bundle, a line each, once all its lists were read. Raises BundleRefused."""
    if (bundle.host_id, bundle.nonce) != (statement.host_id, statement.nonce):
        raise BundleRefused("the bundle answers another question than this host's")
    if bundle.dns_name != state.dns_name:
        raise BundleRefused(f"the bundle is not for {state.dns_name}, which this host serves")
    if (bundle.number, bundle.issued_at) < (state.number, state.issued_at):
        raise BundleRefused(
            f"the bundle (number {bundle.number}) is older than what is installed ({state.number})"
        )
    try:
        parse_krl(bundle.krl)
        lines = tuple(parse_key_line(line).line for line in bundle.user_cas)
        for line in bundle.host_cas:
            parse_key_line(line)
    except FormatError as error:
        raise _does_not_hold(error) from error
    if not lines:
        raise BundleRefused("the bundle names no CA at all")
    return lines


def _check_renewal(bundle: Bundle, key: HostKey, answer: Json, trust: OpenTrust) -> None:
    """Raises ClientError for a new host certificate that is not this host's, or not logged."""
    try:
        host_cas = {parse_key_line(line).blob for line in bundle.host_cas}
        _check_certificate(bundle.host_certificate, host_cas, key)
    except FormatError as error:
        raise _does_not_hold(error) from error
    _check_logged(bundle.host_certificate, answer, trust)


def _does_not_hold(error: ValueError) -> BundleRefused:
    return BundleRefused(f"the gateway's bundle does not hold: {error}")


def _check_certificate(line: str, host_cas: set[bytes] | None, key: HostKey) -> None:
    certificate = parse_certificate_line(line)
    verify(certificate)
    own = parse_key_line(key.line).blob
    if certificate.kind != HOST or certificate.key_blob.blob != own:
        raise BundleRefused("the host certificate is not for this host's key")
    if host_cas is not None and certificate.signature_key not in host_cas:
        raise BundleRefused("the host certificate is of another CA than the bundle names")


def _first_certificate(answer: Json, key: HostKey, trust: OpenTrust) -> str:
    line = text_field(answer, "host_certificate").strip()
    try:
        _check_certificate(line, None, key)
    except FormatError as error:
        raise ProtocolViolation("the gateway's answer is no host certificate") from error
    _check_logged(line, answer, trust)
    return line


def _check_logged(line: str, answer: Json, trust: OpenTrust) -> None:
    trust().check(answer, kind="ssh", certificate=parse_certificate_line(line).blob)


def _install_first_files(directory: HostDirectory, line: str) -> None:
    # sshd refuses everybody when the file that RevokedKeys names is missing.
    if not directory.revoked.exists():
        install(directory.revoked, Krl().encode())
    install(directory.certificate, f"{line}\n")


def _state(
    answer: Json, socket_id: str, host_key: HostKey, gateway: str, ca_file: str | None
) -> HostState:
    try:
        bundle_key = parse_key_line(text_field(answer, "bundle_key")).line
    except FormatError as error:
        raise ProtocolViolation("the gateway's answer has no bundle_key") from error
    host_id = text_field(answer, "host_id")
    if not 1 <= len(host_id) <= _MAX_HOST_ID or not host_id.isascii() or not host_id.isprintable():
        raise ProtocolViolation("the gateway's answer has no host_id")
    return HostState(
        gateway=gateway,
        ca_file=str(Path(ca_file).absolute()) if ca_file else None,
        host_id=host_id,
        socket_id=socket_id,
        dns_name=_dns_name(answer),
        host_key=str(host_key.path),
        bundle_key=bundle_key,
    )


def _dns_name(answer: Json) -> str:
    """The socket's name, which goes into ``known_hosts`` and onto the terminal."""
    text = text_field(answer, "dns_name")
    try:
        if parse_host_name(text) == text:
            return text
    except InvalidInput:
        pass
    raise ProtocolViolation("the gateway's answer has no dns_name")


def _run(command: str) -> None:
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise InvalidInput(f"cannot run {command!r}: {error}") from error
    if done.returncode:
        raise InvalidInput(f"{command!r} ended with exit code {done.returncode}")


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)

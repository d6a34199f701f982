"""What is read from sshd's log, also where the key id was chosen to mislead whoever reads it."""

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from clients.mysocketctl.sightings import Sighting, Unreadable, latest, read_sshd_log
from tests.support.sshd import running_sshd

KEY, CA, OTHER = (f"SHA256:{letter * 43}" for letter in "ACL")
END = f"(serial 777) CA ED25519 {CA}"
SEEN = Sighting(kind="ssh", serial="777", ca=CA, key_fingerprint=KEY, key_id="ann@x.test/d/1")


def said(key_id: str = "ann@x.test/d/1", *, end: str = f" {END}", user: str = "bob") -> str:
    start = f"Accepted publickey for {user} from 192.0.2.1 port 50022 ssh2: ED25519-CERT {KEY} ID "
    return start + key_id + end


def read(*lines: str) -> list[Sighting | Unreadable]:
    """Without the times."""
    found = read_sshd_log([f"{line}\n".encode() for line in lines])
    return [one._replace(seen_at=None) if isinstance(one, Sighting) else one for one in found]


@pytest.fixture
def in_utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("head", "seen_at"),
    [
        ("2026-11-23T12:00:00.123456+01:00 web sshd[7]: ", "2026-11-23T11:00:00"),
        ("2026-11-23T12:00:00+0000 web sshd[7]: ", "2026-11-23T12:00:00"),
        ("<86>1 2026-11-23T12:00:00Z web sshd 7 - - ", "2026-11-23T12:00:00"),
        ("Mon 2026-11-23 12:00:00 UTC web sshd[7]: ", "2026-11-23T12:00:00"),
        ("1795435200.123456 web sshd[7]: ", "2026-11-23T12:00:00"),
        ("Nov 23 12:00:00 web sshd[7]: ", "2026-11-23T12:00:00"),
        ("<86>Nov  3 12:00:00 web sshd[7]: ", "2026-11-03T12:00:00"),
        ("Nov 24 11:00:00 web sshd[7]: ", "2026-11-24T11:00:00"),
        ("Dec 31 23:59:59 web sshd[7]: ", "2025-12-31T23:59:59"),
        ("Feb 29 12:00:00 web sshd[7]: ", "2024-02-29T12:00:00"),
        ("Feb 30 12:00:00 web sshd[7]: ", None),
        ("Mon 2026-11-23 12:00:00 CET web sshd[7]: ", None),
        ("0001-01-01T00:00:00+23:59 web sshd[7]: ", None),
        ("[ 1234.567890] sshd[7]: ", None),
        ("sshd[7]: ", None),
        ("", None),
    ],
)
def test_the_time_is_that_of_the_line_or_said_to_be_missing(
    head: str, seen_at: str | None, in_utc: None
) -> None:
    now = datetime(2026, 11, 23, 12, tzinfo=UTC)
    (found,) = read_sshd_log([f"{head}{said()}\n".encode()], now=now)
    assert isinstance(found, Sighting)
    assert found.seen_at == (None if seen_at is None else f"{seen_at}.000000+00:00")


def test_of_many_sightings_the_last_is_asked_about() -> None:
    dated = [SEEN._replace(seen_at=f"2026-11-2{day}") for day in (3, 5, 4)]
    assert latest(dict.fromkeys([*dated, SEEN], 2)) == {dated[1]: 6, SEEN: 2}


HEADS = [
    "",
    "sshd[7]: ",
    "web sshd[7]: ",
    "sshd: ",
    "Nov 23 12:00:00 web sshd[7]: ",
    "Nov  3 12:00:00 web /usr/sbin/sshd[7]: ",
    "Nov 23 12:00:00.123456 web sshd-session[7]: ",
    "Nov 23 12:00:00 web auth.info sshd[7]: ",
    "2026-11-23T12:00:00.123456+01:00 web sshd[7]: ",
    "2026-11-23T12:00:00Z ",
    "Mon 2026-11-23 12:00:00 UTC web sshd[7]: ",
    "1795435200.123456 web sshd[7]: ",
    "[ 1234.567890] sshd[7]: ",
    "<86>Nov 23 12:00:00 ::1 sshd[7]: ",
    "<86>1 2026-11-23T12:00:00Z web sshd 7 - - ",
    '<86>1 2026-11-23T12:00:00Z web sshd 7 - [meta sequenceId="1" x="\\"] "][o@1 a="b"] ',
    "<86>1 2026-11-23T12:00:00Z User sshd 7 - - \ufeff",
    "Nov 23 12:00:00 192.0.2.7: sshd[7]: ",
    "Nov 23 12:00:00 fe80::1: sshd[7]: ",
    "Nov 23 12:00:00.123 UTC: web sshd[7]: ",
    "Nov 23 2026 12:00:00 web sshd[7]: ",
    "2026 Nov 23 12:00:00 web sshd[7]: ",
    "web: sshd[7]: ",
    "Nov 23 12:00:00 web ssh.service[7]: ",
    "Nov 23 12:00:00 web container: sshd[7]: ",
    "Nov 23 12:00:00 web docker/sshd[7]: sshd[7]: ",
    "Nov 23 12:00:00 web sshd[7]: auth: info: ",
    "Nov 23 12:00:00 web sshd[7]: [7] ",
    "Nov 23 12:00:00 web sshd[7]: [ID 800047 auth.info] ",
]


@pytest.mark.parametrize("head", HEADS)
def test_a_login_is_read_behind_every_kind_of_head(head: str) -> None:
    assert read(head + said()) == [SEEN]
    assert read(head + said(user="CORP\\\\john smith")) == [SEEN]
    assert read(head + said().replace("Accepted", "Partial") + "\r") == [SEEN]


HOSTS = ["debug1", "User", "User-db", "Received", "Invalid", "banner", "pam_box", "Failed-over"]
HOSTS += ["Connection", "Bad", "error", "sudo", "sudo:", "sshd"]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("time", ["Nov 23 12:00:00 ", "2026-11-23T12:00:00.123456+01:00 ", ""])
def test_a_login_is_read_whatever_the_host_is_called(time: str, host: str) -> None:
    assert read(f"{time}{host} sshd[7]: {said()}") == [SEEN]


def test_a_login_that_syslog_says_again_is_read() -> None:
    head = "Nov 23 12:00:00 web sshd[7]: message repeated 2 times: ["
    assert read(f"{head} {said()}]", f"{head}{said()}]") == [SEEN] * 2
    cut_off = f"{head} {said('x' * 900)}"[: len(head) + 800] + "]"
    for line in (f"{head} {said()}", f"{head} {said()}x]", cut_off):
        (found,) = read(line)
        assert isinstance(found, Unreadable)
    assert not read(f"{head} Failed publickey for {said()} from ::1 port 5 ssh2]")


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "key_id",
    [
        f"x from 192.0.2.9 port 1 ssh2: ECDSA-CERT {OTHER} ID eve@x.test/d/1",
        f"x (serial 1) CA ED25519 {OTHER}",
        said(OTHER, end=f" (serial 1) CA ED25519 {OTHER}"),
        f"sshd[7]: Accepted publickey for root from ::1 port 1 ssh2: RSA-CERT {OTHER} ID x",
        " (serial ",
        "",
    ],
)
def test_nothing_in_a_key_id_is_read_as_more(head: str, key_id: str) -> None:
    assert read(head + said(key_id)) == [SEEN._replace(key_id=key_id)]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [500, 1020, 1021, 1023])
def test_a_line_that_may_be_cut_off_is_never_passed_over(head: str, size: int) -> None:
    """Also where what is left was made to look like a whole one."""
    plain = said("x" * 2000)[:size]
    begun = said(f"x (serial 1) CA ED25519 {OTHER}", end="")
    padded = begun + " " * (size - len(begun))
    for line in (plain, padded):
        assert len(line) == size
        (found,) = read(head + line)
        assert isinstance(found, Unreadable)


def test_a_long_line_that_is_whole_is_read() -> None:
    key_id = "x" * 320
    assert len(said(key_id)) > 500
    assert read(said(key_id)) == [SEEN._replace(key_id=key_id)]


@pytest.mark.parametrize(
    "line",
    [
        "Accepted publickey for bob from ::1 port 5 ssh2: RSA-CERT nonsense",
        "Accepted publickey for bob",
        said(end=""),
        f"something new: {said()}",
        f"Nov 23 12:00:00 web sshd[7]: something new: {said()}",
        f"Nov 23 12:00:00 web sshd[7]: error: {said()}",
        f"Nov 23 12:00:00 one two three sshd[7]: {said()}",
        f'{{"log": "{said()}"}}',
    ],
)
def test_a_line_that_is_not_understood_is_named(line: str) -> None:
    (found,) = read(line)
    assert isinstance(found, Unreadable)


@pytest.mark.parametrize("head", HEADS)
def test_what_a_stranger_typed_is_no_login(head: str) -> None:
    """Nobody who is not let in can make the reader cry wolf."""
    assert not read(
        f"{head}Invalid user {said()} from 192.0.2.9 port 5",
        f"{head}Connection closed by invalid user {said()} 192.0.2.9 port 5 [preauth]",
        f"{head}Failed password for invalid user sshd[7]: {said()} from 192.0.2.9 port 5 ssh2",
        f"{head}Invalid user sshd[7]: {said()} from 192.0.2.9 port 5",
        f"{head}Invalid user message repeated 2 times: [ {said()}] from 192.0.2.9 port 5",
        f"{head}Unable to negotiate with ::1 port 5: no matching cipher. Their offer: {said()}",
        f"{head}Disconnecting invalid user {said()} 192.0.2.9 port 5: Change of username",
        f"{head}Received disconnect from ::1 port 5:11: {said()}",
        f"{head}kex_exchange_identification: client sent invalid protocol identifier {said()}",
        f"{head}maximum authentication attempts exceeded for invalid user {said()} from ::1",
        f"{head}pam_unix(sshd:auth): authentication failure; user={said()}",
        f"{head}error: PAM: User not known for illegal user {said()} from 192.0.2.9",
        f'{head}Accepted certificate ID "{said()}" (serial 7) signed by ED25519 CA {CA}',
        f"{head}Accepted publickey for bob from ::1 port 5 ssh2: ED25519 {KEY}",
        f"{head}Accepted publickey for bob from ::1 port 5 ssh2",
        f"{head}Accepted password for bob from ::1 port 5 ssh2",
    )


def test_what_somebody_looks_for_with_sudo_is_no_login() -> None:
    command = "ann : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/grep Accepted publickey for x"
    assert not read(
        f"Nov 23 12:00:00 web sudo: {command}",
        f"2026-11-23T12:00:00+01:00 web sudo[7]: {command}",
        f"<86>1 2026-11-23T12:00:00Z web sudo 7 - - {command}",
        "Nov 23 12:00:00 web CRON[7]: (root) CMD (grep 'Accepted publickey for ' /var/log/x)",
    )


def test_lines_made_to_keep_the_reader_busy_do_not() -> None:
    parts = (
        "Accepted publickey for ",
        f" from a port 1 ssh2: A-CERT {KEY} ID (serial 1) CA ",
        " (serial 1) CA x",
        " from a",
    )
    began = time.perf_counter()
    for part in parts:
        read(("Accepted publickey for " + part * 400)[:4090])
    for part in ("a_", "a/", "[x ", "a ", "info: ", "sshd.", 'x="', "sshd: "):
        for head in ("", "Nov 23 12:00:00 ", "<86>1 2026-11-23T12:00:00Z web sshd 7 - ["):
            read(head + (part * 4000)[:4000] + "Accepted publickey for x")
    assert time.perf_counter() - began < 5


def keygen(*arguments: str | Path) -> None:
    subprocess.run(["ssh-keygen", "-q", *arguments], check=True)


def fingerprint(path: Path) -> str:
    done = subprocess.run(["ssh-keygen", "-l", "-f", path], capture_output=True, check=True)
    return done.stdout.split()[1].decode()


def test_what_a_real_sshd_writes_of_a_forgers_certificates(tmp_path: Path) -> None:
    """``sshd -e``, without anything of a syslog."""
    ca, key = tmp_path / "ca", tmp_path / "key"
    for path in (ca, key):
        keygen("-t", "ed25519", "-N", "", "-C", "", "-f", path)
    forged = f"x from 192.0.2.9 port 1 ssh2: ECDSA-CERT {OTHER} ID ann@x.test/d/1"
    (tmp_path / "sshd").mkdir()
    with running_sshd(tmp_path / "sshd", [ca.with_suffix(".pub").read_text()], ["all"]) as sshd:
        for key_id in ("ann@x.test/d/1", forged, "y" * 950):
            keygen("-s", ca, "-I", key_id, "-n", "all", "-z", "777", key.with_suffix(".pub"))
            command = ["ssh", "-F", "/dev/null", "-i", key, "-p", str(sshd.port)]
            for option in ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"):
                command += ["-o", option]
            subprocess.run([*command, f"{sshd.login}@127.0.0.1", "true"], check=True)
        lines = [line.encode() for line in sshd.log().splitlines(keepends=True)]
    first, second, third = read_sshd_log(lines)
    seen = SEEN._replace(
        key_fingerprint=fingerprint(key.with_suffix(".pub")),
        ca=fingerprint(ca.with_suffix(".pub")),
    )
    assert (first, second) == (seen, seen._replace(key_id=forged))
    assert isinstance(third, Unreadable)


HOSTBASED = (
    "sshd[7]: Accepted hostbased for bob from 192.0.2.1 port 50022 ssh2: ED25519-CERT "
    "SHA256:{key} ID {key_id} (serial 7) CA ED25519 SHA256:{ca}, "
    'client user "{user}", client host "web.lab.test"\n'
)


def hostbased(key_id: str = "web", user: str = "bob") -> bytes:
    return HOSTBASED.format(key="A" * 43, ca="B" * 43, key_id=key_id, user=user).encode()


def test_a_hosts_certificate_that_lets_in_is_read() -> None:
    (found,) = read_sshd_log([hostbased()])
    assert isinstance(found, Sighting)
    assert (found.serial, found.ca, found.key_id) == ("7", "SHA256:" + "B" * 43, "web")


@pytest.mark.parametrize("word", ["key_id", "user"])
def test_a_hosts_certificate_cannot_pass_for_another(word: str) -> None:
    other = f'x (serial 8) CA ED25519 SHA256:{"C" * 43}, client user "a", client host "b"'
    line = hostbased(**{word: other})
    assert list(read_sshd_log([line])) == [Unreadable(line)]


def test_a_plain_key_of_a_host_is_no_certificate() -> None:
    line = hostbased().replace(b"ED25519-CERT", b"ED25519").split(b" ID ", maxsplit=1)[0]
    assert list(read_sshd_log([line + b', client user "b", client host "c"\n'])) == []

"""The commands against a gateway: what they ask, what they print, and every kind of wrong input."""

import json
import stat
from pathlib import Path

import pytest

from tests.clients.conftest import DNS_NAME, Ctl
from tests.support.wire_gateway import EMAIL, WireGateway, api_token


def test_login_keeps_a_private_token(ctl: Ctl) -> None:
    done = ctl.run("login", "--email", EMAIL, "--password", "correct horse")
    assert done.returncode == 0, done
    token = ctl.home / ".mysocketio_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert ctl.run("account", "show").returncode == 0
    assert ctl.run("logout").stdout == b"Logged out.\n"
    assert not token.exists()


def test_password_may_come_from_the_environment_or_a_prompt(ctl: Ctl) -> None:
    assert ctl.run("login", "--email", EMAIL, MYSOCKET_PASSWORD="correct horse").returncode == 0
    assert ctl.run("login", "--email", EMAIL, stdin=b"correct horse\n").returncode == 0


def test_login_by_browser(ctl: Ctl, gateway: WireGateway) -> None:
    assert ctl.run("login", "--browser").returncode == 0
    assert "resource" not in gateway.requests[-1][2]


def test_wrong_password(ctl: Ctl) -> None:
    done = ctl.run("login", "--email", EMAIL, "--password", "wrong")
    assert done.returncode == 1
    assert done.stderr == b"mysocketctl: login failed: wrong email address or password\n"
    assert not (ctl.home / ".mysocketio_token").exists()


def test_account_create(ctl: Ctl, gateway: WireGateway) -> None:
    done = ctl.run(
        *("account", "create", "--name", "Alice", "--email", EMAIL, "--password", "x" * 12),
        *("--sshkey", "ssh-ed25519 AAAA me\n"),
    )
    assert done.returncode == 0, done
    assert gateway.requests[-1][2]["sshkey"] == "ssh-ed25519 AAAA me"
    assert b"unverified" in done.stdout


def test_socket_life(ctl: Ctl, gateway: WireGateway) -> None:
    ctl.log_in()
    made = ctl.run(
        *("socket", "create", "--name", "wiki", "--type", "TLS", "--json"),
        *("--allowed_email_addresses", "a@example.com, b@example.com"),
        *("--allowed_email_domains", "example.org"),
    )
    assert made.returncode == 0, made
    body = gateway.requests[-1][2]
    assert body == {
        "name": "wiki",
        "socket_type": "tls",
        "cloud_authentication_enabled": True,
        "cloud_authentication_email_allowed_addressses": ["a@example.com", "b@example.com"],
        "cloud_authentication_email_allowed_domains": ["example.org"],
    }
    socket_id = json.loads(made.stdout)["socket_id"]
    shown = ctl.run("socket", "show", "--socket_id", socket_id).stdout.decode()
    assert "b@example.com" in shown
    assert "TrustedUserCAKeys" in shown
    ctl.run("socket", "update", "--socket-id", socket_id, "--name", "other")
    assert gateway.requests[-1][2] == {"name": "other"}
    places = ("--ssh-source-addresses", "10.8.0.1, 2001:db8::/32")
    shown = ctl.run("socket", "update", "--socket-id", socket_id, *places).stdout.decode()
    assert gateway.requests[-1][2] == {"ssh_source_addresses": ["10.8.0.1", "2001:db8::/32"]}
    assert "10.8.0.1, 2001:db8::/32" in shown
    for wrong in ("10.8.0.1/8", "sshd.example.com", "10.8.0.1;10.8.0.2"):
        refused = ctl.run("socket", "update", "--socket-id", socket_id, f"{places[0]}={wrong}")
        assert (refused.returncode, refused.stderr.count(b"\n")) == (2, 1)
    assert b"other" in ctl.run("socket", "ls").stdout
    assert ctl.run("socket", "delete", "--socket_id", socket_id).returncode == 0
    gone = ctl.run("socket", "show", "--socket_id", socket_id)
    assert (gone.returncode, gone.stderr) == (1, b"mysocketctl: No such socket. (socket-unknown)\n")


def test_a_change_that_an_edge_has_not_confirmed_is_said(ctl: Ctl, gateway: WireGateway) -> None:
    ctl.log_in()
    made = ctl.run("socket", "create", "--name", "wiki", "--json")
    socket_id = json.loads(made.stdout)["socket_id"]
    changes = (
        ("update", "--socket_id", socket_id, "--name", "other"),
        ("delete", "--socket_id", socket_id),
    )
    assert ctl.run("socket", *changes[0]).stderr == b""
    gateway.in_force = False
    for change in changes:
        done = ctl.run("socket", *change)
        assert done.returncode == 0
        assert len(done.stderr.splitlines()) == 1
        assert b"an edge has not confirmed this change yet" in done.stderr


def test_tunnel_list_and_audit(ctl: Ctl, gateway: WireGateway) -> None:
    ctl.log_in()
    gateway.tunnel = {"tunnel_id": "t-1", "local_port": 4711, "tunnel_server": "t.example"}
    assert b"4711" in ctl.run("tunnel", "ls", "--socket_id", "s-1").stdout
    assert b"4711" in ctl.run("tunnel", "create", "--socket_id", "s-1").stdout
    ids = ("--socket_id", "s-1", "--tunnel_id", "t-1")
    assert ctl.run("tunnel", "delete", *ids).returncode == 0
    ctl.run("socket", "create", "--name", "x")
    for more in ([], ["--socket_id", "s-1"]):
        shown = ctl.run("audit", "decisions", *more).stdout
        assert b"not-on-list" in shown
        assert b"calm-otter-4711" in shown


_TUNNEL = ("tunnel", "connect", "--socket_id", "s", "--tunnel_id", "t", "--port", "1")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["--api", "ftp://x", "socket", "ls"],
        ["--api", "http://gateway.example.com", "socket", "ls"],
        ["--api", "https://user@host/", "socket", "ls"],
        ["--api", "https://[", "socket", "ls"],
        ["--ca-file", "/nowhere", "version"],
        ["--ca-file", "/dev/null", "socket", "ls"],
        ["socket", "create"],
        ["socket", "create", "--name", "x", "--type", "udp"],
        ["socket", "create", "--name", "x", "--protected"],
        ["socket", "create", "--name", "x", "--allowed_email_addresses", "nobody"],
        ["socket", "create", "--name", "x", "--allowed_email_domains", "a@b"],
        ["socket", "create", "--name", "x", "--no-cloudauth", "--allowed_email_domains", "b.c"],
        ["socket", "show", "--socket_id", "../user"],
        ["socket", "update", "--socket_id", "s-1"],
        ["socket", "delete"],
        ["tunnel", "ls", "--socket_id", "a b"],
        ["tunnel", "delete", "--socket_id", "s-1", "--tunnel_id", ""],
        ["tunnel", "connect", "--socket_id", "s", "--tunnel_id", "t", "--port", "0"],
        ["tunnel", "connect", "--socket_id", "s", "--tunnel_id", "t", "--port", "x"],
        [
            *("tunnel", "connect", "--socket_id", "s", "--tunnel_id", "t", "--port", "1"),
            "--host",
            "-x",
        ],
        [
            *("tunnel", "connect", "--socket_id", "s", "--tunnel_id", "t", "--port", "1"),
            "--engine",
            "x",
        ],
        ["connect", "--port", "65536"],
        ["connect", "--port", "80", "--host", "a b"],
        ["client", "tls", "--host", "../../etc/passwd"],
        ["client", "tls", "--host", ""],
        ["client", "tls", "--host", DNS_NAME, "--port", "65536"],
        ["client", "tls", "--host", DNS_NAME, "--listener", "-1"],
        ["client", "tls"],
        ["client", "ssh-keysign", "--host", "a/b"],
        ["client", "ssh-config", "--host", "a b"],
        ["client", "login"],
        ["audit", "decisions", "--limit", "0"],
    ],
)
def test_wrong_input_is_one_line(ctl: Ctl, arguments: list[str]) -> None:
    ctl.log_in()
    done = ctl.run(*arguments)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith(b"mysocketctl: ")
    assert b"internal error" not in done.stderr


def test_wrong_environment_is_one_line(ctl: Ctl) -> None:
    for name, value in (("MYSOCKET_LOGIN", "x"), ("MYSOCKET_CA_FILE", "/nowhere")):
        done = ctl.run("client", "tls", "--host", DNS_NAME, **{name: value})
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done


@pytest.mark.parametrize("content", ["", "x", "a.b.c", "\x00\xff", "a." + "[" * 20000 + ".c"])
def test_damaged_token_file_is_no_login(ctl: Ctl, content: str) -> None:
    (ctl.home / ".mysocketio_token").write_text(content)
    done = ctl.run("socket", "ls")
    assert done.stderr == b"mysocketctl: not logged in; run: mysocketctl login\n"
    assert done.returncode == 1


def test_expired_token(ctl: Ctl) -> None:
    (ctl.home / ".mysocketio_token").write_text(api_token(-5))
    assert b"expired" in ctl.run("socket", "ls").stderr


def test_second_line_of_the_token_file_may_be_the_token(ctl: Ctl) -> None:
    (ctl.home / ".mysocketio_token").write_text(f"old\n{api_token()}\n")
    assert ctl.run("socket", "ls", "--json").stdout == b"[]\n"


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b"<html>oops</html>", b"the gateway answered 500"),
        (403, b'{"detail": "no \\u001b[31m red"}', b"no [31m red"),
        (400, b'{"error_message": "old form"}', b"old form\n"),
        (403, b'{"detail": "No.", "reason": "not-on-list"}', b"No. (not-on-list)\n"),
        (400, b'{"error": "invalid_grant"}', b"mysocketctl: invalid_grant\n"),
        (403, b'{"detail": "No.", "reason": "a b"}', b"No.\n"),
        (
            403,
            b'{"detail": "No.", "reason": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}',
            b"No.\n",
        ),
        (200, b"not json", b"not JSON"),
        (200, b'{"a": 1}', b"not a list of objects"),
        (200, b"[1]", b"not a list of objects"),
        (200, b"[" * 100_000, b"not JSON"),
        (302, b"{}", b"the gateway answered 302"),
        (401, b"{}", b"not logged in"),
    ],
)
def test_strange_answers_are_one_line(
    ctl: Ctl, gateway: WireGateway, status: int, body: bytes, said: bytes
) -> None:
    ctl.log_in()
    gateway.refuse["GET /socket"] = (status, body)
    done = ctl.run("socket", "ls")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr, done.stderr


def test_gateway_that_is_not_there(ctl: Ctl) -> None:
    ctl.log_in()
    done = ctl.run("--api", "https://gateway.localhost:1", "socket", "ls")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert b"no answer from https://gateway.localhost:1" in done.stderr


def test_untrusted_gateway_is_told_nothing(ctl: Ctl, gateway: WireGateway) -> None:
    ctl.log_in()
    done = ctl.run("socket", "ls", MYSOCKET_CA_FILE="")
    assert b"MYSOCKET_CA_FILE" in done.stderr
    assert gateway.requests == []


def test_home_that_cannot_be_written(ctl: Ctl, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = ctl.run("login", "--email", EMAIL, "--password", "correct horse", HOME=str(blocked))
    assert done.returncode == 2
    assert b"cannot write" in done.stderr


def test_version_and_help(ctl: Ctl) -> None:
    assert ctl.run("version").returncode == 0
    done = ctl.run("--help")
    assert done.returncode == 0
    assert b"tunnel" in done.stdout

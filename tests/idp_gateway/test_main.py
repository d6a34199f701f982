"""The gateway as a process: first start, serving, stopping at once, being killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from idp_gateway.__main__ import main
from idp_gateway.accounts import check_password, register
from idp_gateway.composition import build_gateway
from idp_gateway.settings import Settings
from tests.support.processes import Process, free_port, running


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(f'state_dir = "{tmp_path}/s"\nlisten_address = "127.0.0.1:{free_port()}"\n')
    return path


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line in this process: what it prints, and how it ends."""

    def call(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["idp_gateway", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Done(int(ended.value.code or 0), printed.out, printed.err)

    return call


def test_the_first_start_makes_everything_once(run: Run, config: Path, tmp_path: Path) -> None:
    first, second = (run("bootstrap", "--config", config) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    made = json.loads(first.stdout)
    assert made["email"] == "admin@example.test"
    assert len(made["password"]) >= 20
    assert made["socket"]["url"] == f"https://{made['socket']['dns_name']}:8443/"
    assert 1024 <= made["tunnel"]["local_port"] <= 65535
    secret = tmp_path / "s" / "first-account"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert made["password"] not in first.stderr
    (account,) = json.loads(run("account", "list", "--config", config).stdout)
    assert account["email_verified"]
    secret.unlink()
    third = json.loads(run("bootstrap", "--config", config).stdout)
    assert third == {**made, "password": None}


def test_a_first_start_that_was_cut_short_is_taken_up(
    run: Run, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "s").mkdir()
    secret = tmp_path / "s" / "first-account"
    secret.write_text('{"email": "me@example.test", "password": "kept-password"}')
    secret.chmod(0o600)
    made = json.loads(run("bootstrap", "--config", config).stdout)
    assert (made["email"], made["password"]) == ("me@example.test", "kept-password")


def test_operators_look_after_accounts(run: Run, config: Path) -> None:
    added = json.loads(run("account", "add", "Ann@Corp.test", "--config", config).stdout)
    assert added["email"] == "ann@corp.test"
    assert added["email_verified"]
    assert added["password"]
    verified = json.loads(run("account", "verify", "ann@corp.test", "--config", config).stdout)
    assert verified["email_verified"]
    assert verified["password"] not in {"", added["password"]}


@pytest.mark.parametrize("command", ["verify", "add"])
def test_who_registered_anothers_address_loses_it(run: Run, config: Path, command: str) -> None:
    with contextlib.closing(build_gateway(Settings.load(config))) as gateway:
        squatter = register(
            gateway.store,
            name="x",
            email="alice@corp.test",
            password="attackerpass",
            now=gateway.clock(),
        )
        done = run("account", command, "alice@corp.test", "--config", config)
        given = json.loads(done.stdout)
        assert given["account_id"] == squatter.account_id
        assert given["email_verified"]
        known = gateway.store.find_account(squatter.account_id)
        assert known is not None
        assert check_password(given["password"], known.password_hash)
        assert not check_password("attackerpass", known.password_hash)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["account", "add", "not an address"], "@"),
        (["account", "verify", "nobody@corp.test"], "nobody@corp.test"),
        (["serve"], "unknown setting"),
        (["bootstrap", "--email", "x"], "unknown setting"),
    ],
)
def test_a_mistake_is_one_line(
    run: Run, config: Path, tmp_path: Path, arguments: list[str], word: str
) -> None:
    if word == "unknown setting":
        config = tmp_path / "wrong.toml"
        config.write_text("wrong = 1\n")
    done = run(*arguments, "--config", config)
    assert done.returncode == 1
    assert word in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_the_api_describes_itself_without_a_gateway(run: Run) -> None:
    assert "/api/v1/login" in json.loads(run("openapi").stdout)["paths"]


@pytest.fixture
def served(config: Path, tmp_path: Path) -> Iterator[tuple[Process, httpx.Client]]:
    process = start(config)
    with running(process), client_of(tmp_path) as client:
        process.wait_for_output("ready")
        yield process, client


def start(config: Path) -> Process:
    command = (sys.executable, "-m", "idp_gateway", "serve", "--config", config)
    return Process(*command, log=config.with_suffix(".log"))


def client_of(tmp_path: Path) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(tmp_path / "s" / "run" / "gateway.sock"), retries=5)
    return httpx.Client(transport=transport, base_url="http://gateway.localhost", timeout=10)


def edge_key(tmp_path: Path) -> dict[str, str]:
    key = (tmp_path / "s" / "secrets" / "edge.key").read_text().strip()
    return {"authorization": f"Bearer {key}"}


def test_it_serves_on_both_addresses_and_stops_with_a_feed_open(
    served: tuple[Process, httpx.Client], config: Path, tmp_path: Path
) -> None:
    process, client = served
    assert client.get("/healthz").json()["status"] == "ok"
    port = config.read_text().rsplit(":", 1)[1].strip().strip('"')
    assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    where = tmp_path / "s" / "run" / "gateway.sock"
    assert where.stat().st_mode & 0o777 == 0o600
    assert where.parent.stat().st_mode & 0o777 == 0o700
    params = {"since": "0", "edge": "e1"}
    with client.stream("GET", "/internal/feed", params=params, headers=edge_key(tmp_path)) as feed:
        lines = feed.iter_lines()
        assert json.loads(next(lines))["type"] == "snapshot"
        started = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        assert [line for line in lines if "heartbeat" not in line] == []
    process.stop()
    assert time.monotonic() - started < 3
    assert not where.exists()


def test_it_comes_back_after_being_killed(
    served: tuple[Process, httpx.Client], config: Path, tmp_path: Path
) -> None:
    process, client = served
    first = client.get("/healthz").json()
    os.kill(process.pid, signal.SIGKILL)
    process.stop()
    assert (tmp_path / "s" / "run" / "gateway.sock").exists()
    config.with_suffix(".log").unlink()
    again = start(config)
    with running(again), client_of(tmp_path) as client_again:
        again.wait_for_output("ready")
        assert client_again.get("/healthz").json() == first


def test_a_second_gateway_leaves_the_first_alone(
    run: Run, served: tuple[Process, httpx.Client], config: Path
) -> None:
    _, client = served
    done = run("serve", "--config", config)
    assert done.returncode == 1
    assert "running" in done.stderr
    assert client.get("/healthz").status_code == 200


def test_an_address_in_use_is_one_line(run: Run, config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(f'state_dir = "{tmp_path}/s"\nlisten_address = "127.0.0.1:{port}"\n')
        done = run("serve", "--config", config)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_server_s_libraries_it_says_so_in_one_line() -> None:
    # Without site, Python finds nothing that was installed.
    done = subprocess.run(
        [sys.executable, "-S", "-m", "idp_gateway", "serve"],
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "gateway: the server is not installed; install mysocket[server]\n"

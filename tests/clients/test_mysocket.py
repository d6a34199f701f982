"""``mysocket``: its settings files, its children, its demonstration page, and one real run."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.mysocket import supervisor
from clients.mysocket.configuration import configure, read_stack
from clients.mysocket.demo import page
from clients.mysocket.errors import StackError
from clients.mysocket.instance import find, only_one, started_at
from clients.mysocket.layout import Layout
from clients.mysocket.readiness import check_ports_free
from clients.mysocket.supervisor import ChildSpec, Supervisor
from tests.support.processes import children_of, eventually, free_port

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "state")


def test_first_run_writes_settings_that_the_options_change_later(layout: Layout) -> None:
    layout.state.mkdir()
    first = configure(layout, {"https_port": 443, "gateway_names": ["api.example.com"]})
    assert first.base_url == "https://api.example.com"
    config = layout.gateway_config
    config.write_text(config.read_text() + '# mine\n[[providers]]\nname = "x"\n')
    again = configure(layout, {"https_port": 9443, "port_range": [100, 200]})
    assert again.base_url == "https://api.example.com:9443"
    assert again == read_stack(layout)
    assert again.port_range == (100, 200)
    text = config.read_text()
    assert text.count("https_port") == 1
    assert text.endswith('[[providers]]\nname = "x"\n')
    assert "# mine" in text
    assert "port_range" not in layout.edge_config.read_text()
    assert config.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("domain", "closed"), [("edge.localhost", True), ("edge.example.com", False)]
)
def test_on_names_of_one_machine_nobody_signs_up(layout: Layout, domain: str, closed: bool) -> None:
    layout.state.mkdir()
    configure(layout, {"edge_domain": domain})
    assert ("signup_open = false" in layout.gateway_config.read_text()) is closed
    assert "signup_open" not in layout.edge_config.read_text()


def test_damaged_settings_are_one_line(layout: Layout) -> None:
    layout.state.mkdir()
    configure(layout, {})
    layout.gateway_config.write_text("https_port = ")
    with pytest.raises(StackError, match="cannot read") as caught:
        configure(layout, {})
    assert "\n" not in str(caught.value)


def test_strange_paths_survive_toml(tmp_path: Path) -> None:
    layout = Layout(tmp_path / 'a "quoted" \\ path é')
    layout.state.mkdir()
    configure(layout, {})
    assert read_stack(layout).https_port == 8443
    with pytest.raises(StackError):
        configure(Layout(tmp_path / "a\x7fb"), {})


def test_long_state_directory_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    short, long = Layout(Path("/tmp/ms")), Layout(tmp_path / ("x" * 80))
    assert short.run == Path("/tmp/ms/run")
    assert len(str(long.run)) < 60
    assert long.run != Layout(tmp_path / ("y" * 80)).run


def test_a_number_used_again_is_another_process(layout: Layout) -> None:
    with only_one(layout):
        mine = find(layout)
        assert mine is not None
        assert mine.pid == os.getpid()
        with pytest.raises(StackError, match=f"already running .*pid {mine.pid}"), only_one(layout):
            pass
        note = json.loads(layout.process.read_text())
        layout.process.write_text(json.dumps(note | {"started": note["started"] - 1}))
        assert find(layout) is None
    assert find(layout) is None
    assert started_at(2**22 + 1) is None


def test_the_page_shows_the_visitor_and_escapes() -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"auth_time": 7, "x": "<i>"}).encode())
    shown = page(
        {
            "X-Auth-Email": "a@example.com",
            "X-Auth-Name": "<b>Alice",
            "X-Auth-Assertion": f"e30.{claims.decode().rstrip('=')}.sig",
        }
    ).decode()
    assert "a@example.com" in shown
    assert "&lt;b&gt;Alice" in shown
    assert "<th>auth_time</th><td>7</td>" in shown
    assert "&lt;i&gt;" in shown


@pytest.mark.parametrize("assertion", ["", "x", "a.!.c", "a.W10.c", f"a.{'W' * 90000}.c"])
def test_the_page_takes_any_assertion(assertion: str) -> None:
    assert b"stranger" in page({"X-Auth-Assertion": assertion})


def test_children_that_die_are_started_again_and_all_are_stopped(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(say=said.append)
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    supervisor.listen_for_signals()
    try:
        stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(100)"
        for name, code in (("sleeper", "import time; time.sleep(100)"), ("stubborn", stubborn)):
            supervisor.add(
                ChildSpec(
                    name=name,
                    command=(sys.executable, "-c", code),
                    log=tmp_path / f"{name}.log",
                    environment=dict(os.environ),
                )
            )
        sleeper = supervisor.children[0]
        assert sleeper.process is not None
        first = sleeper.process.pid
        os.kill(first, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while not (sleeper.process and sleeper.process.pid != first):
            supervisor.step(0.1)
            assert time.monotonic() < deadline
        assert said == ["sleeper ended (killed by signal 9), starting it again"]
        pids = [child.process.pid for child in supervisor.children if child.process]
        started = time.monotonic()
        supervisor.stop_all()
        assert time.monotonic() - started < 5
        assert [started_at(pid) for pid in pids] == [None, None]
    finally:
        for number, action in before.items():
            signal.signal(number, action)
        for descriptor in supervisor._wake:
            os.close(descriptor)
        for child in supervisor.children:
            child.forget()


def test_logs_are_cut_under_a_running_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "MAX_LOG", 1000)
    monkeypatch.setattr(supervisor, "LOOK_SECONDS", 0.01)
    further = tmp_path / "up.log"
    further.write_bytes(b"x" * 1001)
    watching = supervisor.Supervisor(say=print, further_logs=(further,))
    log = tmp_path / "child.log"
    code = "import time\nwhile True: print('y' * 99, flush=True); time.sleep(0.001)"
    spec = ChildSpec(
        name="child", command=(sys.executable, "-c", code), log=log, environment=dict(os.environ)
    )
    old = tmp_path / "child.old.log"
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    watching.listen_for_signals()

    def look(child: supervisor.Supervisor, seconds: float) -> None:
        really_step(child, seconds)
        cut = old.exists() and log.stat().st_size > 0
        watching.stopping = (cut and not log.read_bytes().startswith(b"\0")) or ends < time.time()

    really_step, ends = supervisor.Supervisor.step, time.time() + 20
    monkeypatch.setattr(supervisor.Supervisor, "step", look)
    try:
        watching.add(spec)
        watching.run()
    finally:
        watching.stop_all()
        for number, action in before.items():
            signal.signal(number, action)
        for descriptor in watching._wake:
            os.close(descriptor)
        watching.children[0].forget()
    assert ends > time.time()
    # The child goes on writing while it is copied.
    assert 1000 <= old.stat().st_size < 2000
    assert old.stat().st_mode & 0o777 == 0o600
    assert (further.stat().st_size, (tmp_path / "up.old.log").stat().st_size) == (0, 1000)


def test_a_log_that_is_short_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_bytes(b"short")
    supervisor.bound(log)
    supervisor.bound(tmp_path / "none.log")
    assert [path.name for path in tmp_path.iterdir()] == ["child.log"]


def mysocket(*arguments: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "clients.mysocket", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["up", "--https-port", "0"],
        ["up", "--https-port", "x"],
        ["up", "--port-range", "5"],
        ["up", "--port-range", "30000-20000"],
        ["up", "--port-range", "1-70000"],
        ["up", "--gateway-name", "localhost"],
        ["up", "--edge-domain", "a b.c"],
        ["up", "--nonsense"],
        ["account", "add"],
    ],
)
def test_wrong_options_are_one_line(arguments: list[str], layout: Layout) -> None:
    state = ["--state", str(layout.state)] if arguments[0] == "up" else []
    done = mysocket(*arguments, *state)
    assert done.returncode == 2, done
    assert len(done.stderr.splitlines()) == 1, done
    assert "internal error" not in done.stderr
    assert not layout.state.exists()


def test_port_that_is_taken_is_named_with_its_option(layout: Layout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        done = mysocket("up", "--state", str(layout.state), "--tunnel-port", str(port))
    said = done.stderr.splitlines()
    assert done.returncode == 1
    assert len(said) == 1
    assert str(port) in said[0]
    assert "--tunnel-port" in said[0] or "--http" in said[0]


def test_a_port_that_becomes_free_is_waited_for(layout: Layout) -> None:
    layout.state.mkdir()
    holder = socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    ports = {"https_port": free_port(), "http_port": free_port(), "tunnel_port": port}
    stack = configure(layout, ports)
    said: list[str] = []

    def leave(line: str) -> None:
        said.append(line)
        holder.close()

    check_ports_free(stack, leave)
    assert len(said) == 1
    assert str(port) in said[0]
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(StackError, match="--tunnel-port"),
    ):
        check_ports_free(stack, said.append, patience=0.1)


def test_nothing_to_stop(layout: Layout) -> None:
    done = mysocket("down", "--state", str(layout.state))
    assert done.returncode == 0
    assert mysocket("status", "--state", str(layout.state)).returncode == 3
    assert mysocket("gateway", "--state", str(layout.state)).returncode == 1


def test_state_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = mysocket("up", "--state", str(tmp_path / "file"))
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Layout, list[str]]]:
    """A real ``up`` in the background, and the options it was given."""
    layout = Layout(tmp_path / "state")
    first = free_port()
    options = [
        *("--state", str(layout.state), "--https-port", str(free_port())),
        *("--http-port", str(free_port()), "--tunnel-port", str(free_port())),
        *("--port-range", f"{first}-{first + 20}"),
    ]
    done = mysocket("up", *options, "--detach")
    assert done.returncode == 0, done
    yield layout, options
    mysocket("down", "--state", str(layout.state))


def test_one_command_runs_everything(running: tuple[Layout, list[str]]) -> None:
    layout, options = running
    state = ["--state", str(layout.state)]
    welcome = layout.welcome.read_text()
    assert re.search(r"password  \S{12,}", welcome)
    assert layout.welcome.stat().st_mode & 0o777 == 0o600
    assert "Ready" in mysocket("status", *state).stdout
    for again in (["up", *options], ["up", *options, "--detach"]):
        done = mysocket(*again)
        assert done.returncode == 1
        assert "already running" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    instance = find(layout)
    assert instance is not None
    children = children_of(instance.pid)
    assert len(children) >= 5  # gateway, edge, Envoy, demo, tunnel
    os.kill(instance.pid, signal.SIGKILL)
    eventually(lambda: all(started_at(pid) is None for pid in children), within=15)
    done = mysocket("up", *options, "--detach")
    assert done.returncode == 0, done
    assert layout.welcome.read_text() == welcome  # same name, same password
    children = children_of(find(layout).pid)
    started = time.monotonic()
    assert mysocket("down", *state).stdout == "Stopped.\n"
    assert time.monotonic() - started < 6
    assert [pid for pid in children if started_at(pid) is not None] == []

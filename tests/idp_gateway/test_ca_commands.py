"""``python -m idp_gateway ca``: what an operator types, sees, and is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from idp_gateway import ca_commands
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.known_hosts import known_hosts_lines
from idp_gateway.settings import Settings
from tests.idp_gateway.test_main import Run, config, run
from tests.support import rows

__all__ = ["config", "run"]


@contextmanager
def opened(config: Path) -> Iterator[Gateway]:
    gateway = build_gateway(Settings.load(config))
    yield gateway
    gateway.close()


@pytest.fixture
def name(config: Path) -> str:
    """Of a socket."""
    with opened(config) as gateway:
        owner = rows.account()
        gateway.store.add_account(owner)
        made = gateway.authority.new_user_ca("socket-1")
        socket = rows.socket(owner, socket_id="socket-1", ssh_ca_public=made.public)
        return gateway.store.add_socket(socket, ports=rows.PORTS, user_ca=made).dns_name


def states(standing: dict[str, Any]) -> list[str]:
    return [generation["state"] for generation in standing["generations"]]


@pytest.mark.parametrize("ca", ["x509-issuing", "ssh-tunnel", "ssh-host", "socket"])
def test_step_by_step_and_back(run: Run, config: Path, name: str, ca: str) -> None:
    ca = name.upper() if ca == "socket" else ca
    step = ("ca", "rotate", ca, "--config", config, "--step", "--by-hand")
    seen = []
    for _ in range(3):
        done = run(*step)
        assert done.returncode == 0, done.stderr
        seen.append(states(json.loads(done.stdout))[-1])
    assert seen == ["prepared", "published", "active"]

    back = run("ca", "rollback", ca, "--config", config)
    assert states(json.loads(back.stdout)) == ["active", "draining"]
    shown = json.loads(run("ca", "status", ca, "--config", config).stdout)
    assert [states(one) for one in shown] == [["active", "draining"]]
    assert shown[0]["next_step"] == "retire"


def test_a_socket_goes_by_the_name_its_owner_gave_it_unless_others_do_too(
    run: Run, config: Path, name: str
) -> None:
    with opened(config) as gateway:
        socket = gateway.store.find_socket_by_dns_name(name)
        assert socket is not None
    shown = run("ca", "status", socket.name, "--config", config)
    assert json.loads(shown.stdout)[0]["ca"] == "ssh-user:socket-1", shown.stderr

    with opened(config) as gateway:
        owner = rows.account(account_id="account-2", email="other@lab.test")
        gateway.store.add_account(owner)
        made = gateway.authority.new_user_ca("socket-2")
        second = rows.socket(owner, socket_id="socket-2", ssh_ca_public=made.public)
        other = gateway.store.add_socket(second, ports=rows.PORTS, user_ca=made).dns_name
    refused = run("ca", "status", socket.name, "--config", config)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: more than one socket is called")
    assert all(one in refused.stderr for one in (name, other))
    assert len(refused.stderr.splitlines()) == 1


def test_the_lines_for_known_hosts_are_shown_when_the_host_ca_is_rotated(
    run: Run, config: Path
) -> None:
    step = ("ca", "rotate", "ssh-host", "--config", config, "--step")
    run(*step)
    done = run(*step)
    assert done.returncode == 0, done.stderr
    with opened(config) as gateway:
        lines = known_hosts_lines(gateway)
        where = f"{gateway.settings.base_url}/ssh/known-hosts"
    assert len(lines) == 2
    said = done.stderr.splitlines()
    assert said[-3:] == [*lines, f"clients get it from {where}"]


def test_a_rotation_in_one_go_tells_what_it_does(run: Run, config: Path) -> None:
    with_patience = run("ca", "rotate", "ssh-tunnel", "--config", config, "--no-wait")
    assert with_patience.returncode == 1
    said = with_patience.stderr.splitlines()
    assert said[:3] == [
        "prepared: ssh-tunnel",
        "published: ssh-tunnel",
        "activated: ssh-tunnel",
    ]
    assert said[3].startswith("to retire: certificates of the old key may be good until ")
    assert said[4].startswith("error: stopped before the step retire")


def test_a_compromised_key_is_gone_at_once(run: Run, config: Path) -> None:
    done = run("ca", "rotate", "x509-issuing", "--config", config, "--compromised")
    assert done.returncode == 0, done.stderr
    assert states(json.loads(done.stdout)) == ["withdrawn", "active"]
    with opened(config) as gateway:
        assert gateway.authority.client_cas.count("BEGIN CERTIFICATE") == 1
        (old, new) = gateway.store.generations("x509-issuing")
        assert gateway.authority.issuing_ca_key_ids == (new.key_id,)
        assert old.private_sealed is None


def test_the_roots_list_is_made_by_hand_where_its_key_is(run: Run, config: Path) -> None:
    run("ca", "rotate", "x509-issuing", "--config", config, "--compromised")
    with opened(config) as gateway:
        before = gateway.authority.root_list.current()
        key = gateway.settings.state_dir / "ca" / "root.key"
    done = run("ca", "root-list", "--config", config)
    assert (done.returncode, done.stderr) == (0, "made: the root's list\n")
    with opened(config) as gateway:
        assert gateway.authority.root_list.current() != before

    key.rename(key.with_suffix(".safe"))
    done = run("ca", "root-list", "--config", config)
    assert done.returncode == 1
    assert "root-out-of-reach" in done.stderr or "the root's key is not here" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_it_waits_for_who_verifies_and_goes_on_when_they_have_said_so(
    run: Run, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(config) as gateway:
        gateway.feed.serving.acknowledge("edge-1", 1)
        looks = []

        def look(_seconds: float) -> None:
            looks.append(gateway.rotation.standing("ssh-tunnel").why)
            gateway.feed.serving.acknowledge("edge-1", gateway.store.revision())
            if len(looks) > 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(ca_commands.time, "sleep", look)
        monkeypatch.setattr(
            "sys.argv", ["x", "ca", "rotate", "ssh-tunnel", "--config", str(config)]
        )
        with pytest.raises(SystemExit):
            ca_commands.ca_group(["rotate", "ssh-tunnel", "--config", str(config)])
        assert looks[0].startswith("waiting for edge edge-1 (last seen ")
        assert looks[1].startswith("certificates of the old key may be good until ")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("rotate", "nobody.edge.test"), "no CA 'nobody.edge.test'"),
        (("rotate", ""), "no CA ''"),
        (("rotate", "x" * 5000), "no CA 'xxx"),
        (("rotate", "ssh-user:"), "no CA 'ssh-user:'"),
        (("rotate", "ssh-tunnel", "--without-edge", "typo"), "there is no edge 'typo'"),
        (("rotate", "ssh-host", "--without-host", "typo"), "there is no host 'typo'"),
        (("rollback", "ssh-tunnel"), "no rotation of ssh-tunnel is under way"),
        (("status", "nobody.edge.test"), "no CA 'nobody.edge.test'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    run: Run, config: Path, arguments: tuple[str, ...], why: str
) -> None:
    done = run("ca", *arguments, "--config", config)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {why}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert len(done.stderr) < 400


def test_the_new_line_of_an_sshd_set_up_by_hand_is_shown_before_it_is_needed(
    run: Run, config: Path, name: str
) -> None:
    done = run("ca", "rotate", name, "--config", config, "--no-wait")
    assert done.returncode == 1
    with opened(config) as gateway:
        _, new = gateway.store.generations("ssh-user:socket-1")
    assert f"the new line: {new.public}\n" in done.stderr
    assert "--by-hand" in done.stderr
    assert new.state.value == "published"

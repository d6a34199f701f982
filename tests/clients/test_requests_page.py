"""Every command of docs/requests.md, typed by whom it is for, against a real gateway."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.issuance_gateway import IssuingGateway, issuing_gateway
from tests.clients.conftest import Ctl
from tests.support.documentation import ROOT, section, shell_blocks
from tests.support.gateway_owner import OWNER, logged_in_home
from tests.support.product import BIN
from tests.support.terminal import Terminal

PAGE = (ROOT / "docs" / "requests.md").read_text("utf-8")
ANN, BOB = "ann@example.net", "bob@example.com"


@pytest.fixture(scope="module")
def issuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IssuingGateway]:
    with issuing_gateway(tmp_path_factory.mktemp("gateway"), keys=1) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Reader:
    """Somebody who types what the page says."""

    ctl: Ctl
    terminal: Terminal

    def type(self, block: str, **values: str) -> str:
        """A block with its placeholders filled in; it stops at the first command that fails."""
        for name, value in values.items():
            block = block.replace(name, value)
        return self.terminal.type(f"set -e\n{block}\nset +e\n")

    def listed(self, *words: str) -> list[dict[str, Any]]:
        done = self.ctl.run(*words, "--json")
        assert done.returncode == 0, done
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found


@pytest.fixture
def readers(issuing: IssuingGateway, tmp_path: Path) -> Iterator[dict[str, Reader]]:
    opened = {}
    for email in (OWNER, ANN, BOB):
        directory = tmp_path / email
        directory.mkdir()
        environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "LANG": "C.UTF-8",
        } | logged_in_home(issuing, directory / "home", email)
        terminal = Terminal(directory, environment)
        ctl = Ctl(directory / "home", environment)
        opened[email] = Reader(ctl, terminal)
    yield opened
    for one in opened.values():
        one.terminal.process.stop()


@pytest.fixture
def owner(readers: dict[str, Reader]) -> Reader:
    return readers[OWNER]


@pytest.fixture
def ann(readers: dict[str, Reader]) -> Reader:
    return readers[ANN]


@pytest.fixture
def bob(readers: dict[str, Reader]) -> Reader:
    return readers[BOB]


def blocks_of(heading: str) -> list[str]:
    return shell_blocks(section(PAGE, heading))


def test_a_request_from_asking_to_the_end(
    issuing: IssuingGateway, owner: Reader, ann: Reader
) -> None:
    ask, cancel = blocks_of("For people")
    answer, deny, _ = blocks_of("For owners")
    socket = issuing.dns_name

    for block, who in ((cancel, ann), (answer, owner), (deny, owner)):
        assert "pending" in ann.type(ask, SOCKET=socket)
        (request,) = (one["request_id"] for one in owner.listed("access", "ls"))
        said = who.type(block, REQUEST=request)
        if block == answer:
            waiting, approved = said.split("be quick", 1)
            assert "on call" in waiting
            assert "approved" in approved
            assert "that is done" in approved
        assert owner.listed("access", "ls") == []

    found = ann.listed("access", "ls", "--mine")
    assert [one["state"] for one in found] == ["denied", "revoked", "cancelled"]
    for state in ("denied", "revoked", "cancelled"):
        for who, more in ((ann, ["--mine"]), (owner, ["--socket", socket])):
            (one,) = who.listed("access", "ls", "--state", state, *more)
            assert one["state"] == state
    assert ann.listed("access", "ls", "--state", "ended", "--mine") == []


def test_rules_and_a_second_person(
    issuing: IssuingGateway, owner: Reader, ann: Reader, bob: Reader
) -> None:
    rules = blocks_of("For owners")[2]
    first, show, last = rules.strip().splitlines()
    socket = issuing.dns_name
    said = owner.type(f"{first}\n{show}", SOCKET=socket)
    assert "all" in said
    assert BOB in said
    owner.ctl.run("access", "rules", "set", "--socket", socket, "--why", "x", "--asking")
    (_, kept) = owner.listed("access", "rules", "show", "--socket", socket)
    assert kept["two_person"]
    assert kept["approvers"] == [BOB]

    ann.type(blocks_of("For people")[0], SOCKET=socket)
    (waiting,) = bob.listed("access", "ls")
    assert bob.listed("access", "ls", "--socket", socket) == [waiting]
    request = waiting["request_id"]
    once = owner.ctl.run("access", "approve", request)
    assert b"1 of 2" in once.stdout
    again = owner.ctl.run("access", "approve", request)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    twice = bob.ctl.run("access", "approve", request, "--minutes", "5")
    assert b"approved" in twice.stdout
    assert b"2 of 2" in twice.stdout
    assert bob.ctl.run("access", "revoke", request).returncode == 0

    assert "no " in owner.type(last, SOCKET=socket)
    assert bob.listed("access", "ls", "--state", "all") == []


def test_nobody_asks_where_the_owner_says_so(
    issuing: IssuingGateway, owner: Reader, ann: Reader
) -> None:
    rules = ("access", "rules", "set")
    assert owner.ctl.run(*rules, "--no-asking").returncode == 0
    refused = ann.ctl.run("access", "request", issuing.dns_name, "--reason", "x")
    assert refused.stderr == b"mysocketctl: there is no such service (socket-unknown)\n"
    assert owner.ctl.run(*rules, "--asking").returncode == 0
    assert owner.ctl.run(*rules, "--two-person").stderr.count(b"\n") == 1


def test_a_guest_and_how_far_ahead(issuing: IssuingGateway, owner: Reader) -> None:
    invite, revoke = blocks_of("Guests")
    said = owner.type(invite, SOCKET=issuing.dns_name)
    assert "/guest?code=" in said
    (guest,) = owner.listed("guest", "ls", "--socket", issuing.dns_name)
    assert guest["state"] == "invited"
    owner.type(revoke, GUEST=guest["guest_id"])
    (guest,) = owner.listed("guest", "ls", "--socket", issuing.dns_name)
    assert guest["state"] == "revoked"

    create = ("guest", "create", "--socket", issuing.dns_name, "--email", "g@example.com")
    for too_far in (["--minutes", str(31 * 24 * 60)], ["--ends", "2999-01-01T00:00:00Z"]):
        refused = owner.ctl.run(*create, *too_far)
        assert refused.stderr == b"mysocketctl: it must end within 30 days (time-too-long)\n"
        assert refused.returncode == 1

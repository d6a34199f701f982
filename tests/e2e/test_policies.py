"""Policies about addresses, and people who ask past them, on the whole product."""

import itertools
import json
import re
import socket as sockets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext

from tests.e2e.test_ssh import one_block_config, ssh
from tests.e2e.test_tls_sockets import BANNER, Credentials, visit
from tests.support import at_browser
from tests.support.chromium import chromium
from tests.support.origins import Origin, banner_origin, http_origin
from tests.support.product import Person, Product
from tests.support.sshd import running_sshd
from tests.support.visitor import Visitor, sign_in

HERE, ELSEWHERE = "127.0.0.0/8", "192.0.2.0/24"
NAVIGATION = {"accept": "text/html", "sec-fetch-mode": "navigate"}
HELLO = BANNER + b"hello\n"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def web_origin() -> Iterator[Origin]:
    with http_origin() as serving:
        yield serving


@pytest.fixture(scope="module")
def banner() -> Iterator[Origin]:
    with banner_origin(BANNER) as serving:
        yield serving


@pytest.fixture(scope="module")
def alice(alice: Person) -> Person:
    """She has an account here as well, and may ask."""
    alice.log_in()
    return alice


def written(owner: Person, document: dict[str, Any]) -> str:
    """A file with a policy."""
    file = owner.home / f"policy-{next(_numbers)}.json"
    file.write_text(json.dumps({"version": "v2", "action": ["http", "tls", "ssh"]} | document))
    return str(file)


def letting_in(person: Person, *networks: str) -> dict[str, Any]:
    where = {"allowed_ip": list(networks)}
    return {"condition": {"who": {"email": [person.email]}, "where": where}}


def guarded(owner: Person, kind: str, port: int, **policies: dict[str, Any]) -> dict[str, Any]:
    """A published socket with nothing but these policies, each of them new."""
    created = owner.create_socket(socket_type=kind, cloud_authentication_enabled=True)
    for name, document in policies.items():
        owner.ctl(
            *("policy", "create", "--name", name, "--socket", created["socket_id"]),
            written(owner, document),
        )
    owner.publish(created, port)
    return created


def change(owner: Person, policy: str, document: dict[str, Any]) -> None:
    done = owner.ctl("policy", "edit", policy, "--file", written(owner, document))
    assert done.stderr == b""


class Barred:
    """As a context: a policy of the whole account that keeps somebody out everywhere."""

    def __init__(self, owner: Person, person: Person) -> None:
        self._owner = owner
        rule = {"name": "out", "who": {"email": [person.email]}}
        self._file = written(owner, {"deny": [rule]})

    def __enter__(self) -> None:
        self._owner.ctl("policy", "create", "--name", "barred", "--org-wide", self._file)

    def __exit__(self, *_exc: object) -> None:
        self._owner.ctl("policy", "delete", "barred")


def asked_and_answered(owner: Person, person: Person, socket: dict[str, Any]) -> str:
    """Ask for a socket on the command line and be let in; the request's id."""
    dns_name = socket["dnsname"]
    asked = person.ctl("access", "request", dns_name, "--reason", "on call", "--json")
    request = str(json.loads(asked.stdout)["request_id"])
    listed = json.loads(owner.ctl("access", "ls", "--socket", dns_name, "--json").stdout)
    assert [one["request_id"] for one in listed] == [request]
    owner.ctl("access", "approve", request, "--minutes", "5")
    return request


def decisions_about(owner: Person, socket: dict[str, Any]) -> list[dict[str, Any]]:
    said = owner.ctl("audit", "decisions", "--socket_id", socket["socket_id"], "--json")
    found: list[dict[str, Any]] = json.loads(said.stdout)
    return found


def page_at(visitor: Visitor, address: str) -> httpx.Response:
    """What a browser ends up with."""
    return visitor.get(address, headers=NAVIGATION, follow_redirects=True)


def test_the_next_request_follows_the_policy(
    product: Product, owner: Person, alice: Person, web_origin: Origin
) -> None:
    office = letting_in(alice, HERE)
    mine = guarded(owner, "http", web_origin.port, office=office)
    other = guarded(owner, "http", web_origin.port, lab=office)
    address, elsewhere = product.socket_url(mine), product.socket_url(other)
    with product.visitor() as visitor:
        for one in (address, elsewhere):
            shown = sign_in(visitor, one, email=alice.email, password=alice.password)
            assert shown.status_code == 200, shown.text
        assert visitor.get(address).status_code == 200
        decided = decisions_about(owner, other)

        change(owner, "office", letting_in(alice, ELSEWHERE))

        # Not a redirect either: this session is as good as it was, and nothing is decided anew.
        assert visitor.get(elsewhere).status_code == 200
        assert decisions_about(owner, other) == decided
        reached = len(web_origin.received)
        assert visitor.get(address).status_code in {401, 403}
        refused = page_at(visitor, address)
        assert refused.status_code == 403
        assert "address-not-allowed" in refused.text
        assert len(web_origin.received) == reached

        with Barred(owner, alice):
            assert page_at(visitor, elsewhere).status_code == 403
        assert page_at(visitor, elsewhere).status_code == 200

    found = re.search(r'id="decision-id">([^<]+)<', refused.text)
    assert found is not None
    explained = owner.ctl("policy", "explain", "--decision", found[1]).stdout.decode()
    told = alice.ctl("policy", "explain", "--decision", found[1]).stdout.decode()
    for secret in (ELSEWHERE, "office"):
        assert secret in explained
        assert secret not in told
    assert "127.0.0.1" in explained
    assert "deny" in told


def test_the_next_handshake_follows_the_policy(
    owner: Person, alice: Person, banner: Origin, tmp_path: Path
) -> None:
    office = letting_in(alice, HERE)
    mine = guarded(owner, "tls", banner.port, vault=office)
    other = guarded(owner, "tls", banner.port, cellar=office)
    kept = {}
    for one in (mine, other):
        assert connected(alice, one)
        directory = tmp_path / one["dnsname"]
        directory.mkdir()
        kept[one["dnsname"]] = Credentials(alice, one["dnsname"], directory)
    standing = opened(other, kept[other["dnsname"]])

    change(owner, "vault", letting_in(alice, ELSEWHERE))

    reached = len(banner.connections)
    assert visit(mine, kept[mine["dnsname"]].context())[0] == b""
    assert not connected(alice, mine)
    assert len(banner.connections) == reached
    standing.sendall(b"still here\n")
    assert standing.recv(64) == b"still here\n"
    standing.close()
    assert visit(other, kept[other["dnsname"]].context())[0] == HELLO

    request = asked_and_answered(owner, alice, mine)
    assert connected(alice, mine)
    approved = Credentials(alice, mine["dnsname"], tmp_path)
    assert visit(mine, approved.context())[0] == HELLO
    with Barred(owner, alice):
        for one, files in ((mine, approved), (other, kept[other["dnsname"]])):
            assert visit(one, files.context())[0] == b""
            assert not connected(alice, one)
    assert connected(alice, mine)
    approved = Credentials(alice, mine["dnsname"], tmp_path)

    owner.ctl("access", "revoke", request, "--note", "done")

    assert visit(mine, approved.context())[0] == b""
    assert not connected(alice, mine)
    mine_asked = json.loads(alice.ctl("access", "ls", "--mine", "--json").stdout)
    assert [(one["state"], one["note"]) for one in mine_asked] == [("revoked", "done")]


def connected(person: Person, socket: dict[str, Any]) -> bool:
    """Whether ``client tls`` gets somebody through; if not, it says so in one line."""
    done = person.ctl("client", "tls", "--host", socket["dnsname"], stdin=b"hello\n", check=False)
    assert done.returncode == 0 or done.stderr.count(b"\n") == 1, done
    assert done.stdout in {b"", HELLO}
    return done.stdout == HELLO


def opened(socket: dict[str, Any], credentials: Credentials) -> sockets.socket:
    """A connection that has been greeted."""
    plain = sockets.create_connection(("127.0.0.1", socket["socket_tcp_ports"][0]), timeout=10)
    context = credentials.context()
    connection = context.wrap_socket(plain, server_hostname=socket["dnsname"])
    assert connection.recv(64) == BANNER
    return connection


def test_ssh_follows_the_policy_at_the_edge_and_at_the_server(
    owner: Person, alice: Person, tmp_path: Path
) -> None:
    created = owner.create_socket(socket_type="tls", cloud_authentication_enabled=True)
    file = written(owner, letting_in(alice, "127.0.0.1"))
    owner.ctl("policy", "create", "--name", "shell", "--socket", created["socket_id"], file)
    dns_name = created["dnsname"]
    config = one_block_config(alice, dns_name)
    with running_sshd(tmp_path, [created["ssh_ca"]], ["mysocket_ssh_signed"]) as sshd:
        owner.publish(created, sshd.port)
        destination = f"{sshd.login}@{dns_name}"
        done = ssh(alice, config, destination, "echo open")
        assert done.stdout == "open\n", done.stderr + sshd.log()

        # As if the tunnel ended on a machine that sshd sees as 127.0.0.2.
        key = alice.home / ".ssh" / dns_name
        direct = (
            f"Host direct\n HostName 127.0.0.1\n Port {sshd.port}\n BindAddress 127.0.0.2\n"
            f" IdentityFile {key}\n CertificateFile {key}-cert.pub\n IdentitiesOnly yes\n"
            " BatchMode yes\n"
        )
        refused = ssh(alice, direct, f"{sshd.login}@direct", "echo open")
        assert (refused.returncode, refused.stdout) == (255, "")
        assert "not from a permitted source address" in sshd.log()
        places = ("--ssh-source-addresses", "127.0.0.2,127.0.0.1")
        owner.ctl("socket", "update", "--socket_id", created["socket_id"], *places)
        # The one she keeps is as it was made.
        (alice.home / ".ssh" / f"{dns_name}-cert.pub").unlink()
        alice.ctl("client", "ssh-keysign", "--host", dns_name)
        done = ssh(alice, direct, f"{sshd.login}@direct", "echo open")
        assert done.stdout == "open\n", done.stderr + sshd.log()

        change(owner, "shell", letting_in(alice, ELSEWHERE))
        accepted = sshd.log().count("Accepted publickey")
        refused = ssh(alice, config, destination, "echo open")
        assert (refused.returncode, refused.stdout) == (255, "")
        assert sshd.log().count("Accepted publickey") == accepted


@pytest.fixture
def browser(product: Product, tmp_path: Path) -> Iterator[BrowserContext]:
    with chromium(tmp_path, product.authority) as context:
        yield context


def test_who_is_denied_asks_in_the_browser_and_is_in_until_the_owner_ends_it(
    browser: BrowserContext, product: Product, owner: Person, alice: Person, web_origin: Origin
) -> None:
    desk = letting_in(alice, ELSEWHERE)
    mine = guarded(owner, "http", web_origin.port, desk=desk)
    address = f"{product.socket_url(mine)}/page"
    page = browser.new_page()
    page.goto(address)
    at_browser.sign_in(page, alice.email, alice.password)
    decision = page.locator("#decision-id").inner_text()
    page.locator("#ask").click()
    page.locator("#reason").fill("on call")
    page.locator("#minutes").select_option("15")
    page.locator("#send").click()
    page.get_by_text("Your request was sent").wait_for()

    assert browser.browser is not None
    desk_of_owner = browser.browser.new_context().new_page()
    desk_of_owner.set_default_timeout(15_000)
    desk_of_owner.goto(f"{product.base_url}/requests")
    at_browser.sign_in(desk_of_owner, owner.email, owner.password)
    waiting = desk_of_owner.locator("#waiting")
    assert "on call" in waiting.inner_text()
    assert decision in waiting.inner_text()
    waiting.get_by_role("button", name="Approve").click()
    desk_of_owner.locator("#open").get_by_text(alice.email).wait_for()

    response = page.goto(address)
    assert response is not None
    assert response.status == 200
    assert page.url == address
    assert f"x-auth-email: {alice.email}" in page.inner_text("body").lower()
    newest = decisions_about(owner, mine)[0]
    assert newest["policy_ids"] == [f"approval:{_request_of(owner, mine)}"]

    desk_of_owner.get_by_role("button", name="End it now").click()
    desk_of_owner.get_by_text("Nobody was let in this way at present.").wait_for()

    response = page.reload()
    assert response is not None
    assert response.status == 403


def _request_of(owner: Person, socket: dict[str, Any]) -> str:
    said = owner.ctl("access", "ls", "--socket", socket["dnsname"], "--state", "approved", "--json")
    (one,) = json.loads(said.stdout)
    return str(one["request_id"])

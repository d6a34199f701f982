"""``access`` and ``guest``: what they ask of the gateway, and every kind of wrong input."""

import json
from typing import Any

import pytest

from tests.clients.conftest import DNS_NAME, Ctl
from tests.support.wire_gateway import WireGateway

ID = "7e7a52b6-6f57-4a4e-a7f8-19d2a6a6a001"


_RULES = {"socket_id": None, "asking": True, "two_person": True, "approvers": ["b@example.com"]}


@pytest.fixture
def asked(ctl: Ctl, gateway: WireGateway) -> list[tuple[str, str, Any]]:
    """Somebody logged in with one socket; what the gateway is asked from now on."""
    ctl.log_in()
    one = {"request_id": ID, "state": "pending", "socket": DNS_NAME, "email": "bob@example.com"}
    invited = {"guest_id": ID, "email": "g@example.com", "link": "https://g.test/l/abc"}
    gateway.more |= {
        ("POST", "/access-requests"): lambda *_: (200, one),
        ("GET", "/access-requests"): lambda *_: (200, [one]),
        (
            "POST",
            "/access-requests/([^/]+)/(approve|deny|revoke|cancel)",
        ): lambda _g, _b, _t, _id, verb: (
            200,
            one | {"state": verb},
        ),
        ("POST", "/guests"): lambda *_: (200, invited),
        ("GET", "/guests"): lambda *_: (200, [invited]),
        ("DELETE", f"/guests/{ID}"): lambda *_: (204, None),
        ("GET", "/approval-rules"): lambda *_: (200, _RULES),
        ("PUT", "/approval-rules"): lambda _g, body, *_: (200, body),
    }
    assert ctl.run("socket", "create", "--name", "wiki").returncode == 0
    gateway.requests.clear()
    return gateway.requests


def test_a_request_says_what_for_and_how_long(ctl: Ctl, asked: list[Any]) -> None:
    done = ctl.run("access", "request", DNS_NAME.upper(), "--reason", "on call", "--minutes", "30")
    assert done.returncode == 0, done
    assert asked == [
        (
            "POST",
            "/access-requests",
            {"socket": DNS_NAME, "reason": "on call", "minutes": 30},
        )
    ]
    assert ID.encode() in done.stdout


def test_requests_are_listed_by_socket_or_as_ones_own(ctl: Ctl, asked: list[Any]) -> None:
    for more in ([], ["--socket", "wiki"], ["--mine"]):
        done = ctl.run("access", "ls", "--json", *more)
        assert [one["request_id"] for one in json.loads(done.stdout)] == [ID], done
    assert [path for _, path, _ in asked].count("/access-requests") == 3
    assert b"bob@example.com" in ctl.run("access", "ls").stdout


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("approve", "--minutes", "15", "--note", "fine"), {"minutes": 15, "note": "fine"}),
        (("approve",), {}),
        (("deny", "--note", "no"), {"note": "no"}),
        (("revoke", "--note", "enough"), {"note": "enough"}),
        (("cancel",), {}),
    ],
)
def test_a_request_is_answered(
    words: tuple[str, ...], body: dict[str, Any], ctl: Ctl, asked: list[Any]
) -> None:
    verb, *options = words
    done = ctl.run("access", verb, ID, *options)
    assert done.returncode == 0, done
    assert asked[-1] == ("POST", f"/access-requests/{ID}/{verb}", body)
    assert verb.encode() in done.stdout


def test_a_guest_gets_a_window_and_a_link(ctl: Ctl, asked: list[Any]) -> None:
    done = ctl.run(
        *("guest", "create", "--socket", "wiki", "--email", "G@Example.com", "--minutes", "90"),
        *("--starts", "2026-12-01T09:00:00+01:00", "--note", "auditor"),
    )
    assert done.returncode == 0, done
    assert done.stdout.decode().splitlines()[-1] == "https://g.test/l/abc"
    assert asked[-1][2] == {
        "socket_id": "s-1",
        "email": "g@example.com",
        "starts_at": "2026-12-01T08:00:00+00:00",
        "ends_at": "2026-12-01T09:30:00+00:00",
        "note": "auditor",
    }
    ctl.run("guest", "create", "--socket", "wiki", "--email", "g@example.com", "--minutes", "1")
    assert "starts_at" not in asked[-1][2]
    assert b"g@example.com" in ctl.run("guest", "ls", "--socket", DNS_NAME).stdout
    assert ctl.run("guest", "revoke", ID).stdout == f"Guest {ID} revoked\n".encode()


def test_of_the_rules_what_is_not_given_stays(ctl: Ctl, asked: list[Any]) -> None:
    kept = {name: _RULES[name] for name in ("asking", "two_person", "approvers")}
    for words, changed in (
        (["--no-asking"], {"asking": False}),
        (["--one-person", "--why", "x"], {"two_person": False, "why": "x"}),
        (
            ["--approver", "C@d.test", "--approver", "e@d.test"],
            {"approvers": ["c@d.test", "e@d.test"]},
        ),
        (["--no-approvers"], {"approvers": []}),
    ):
        done = ctl.run("access", "rules", "set", "--socket", "wiki", *words)
        assert done.returncode == 0, done
        assert asked[-1] == ("PUT", "/approval-rules", kept | changed)


_GUEST = ("guest", "create", "--socket", "wiki", "--email", "g@example.com")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("access", "request", DNS_NAME), "--reason"),
        (("access", "request", "a/b", "--reason", "x"), "not a host name"),
        (("access", "request", DNS_NAME, "--reason", "a\x1bb"), "printable"),
        (("access", "request", DNS_NAME, "--reason", "x", "--minutes", "0"), "range"),
        (("access", "ls", "--mine", "--socket", "wiki"), "--mine"),
        (("access", "ls", "--state", "open"), "open"),
        (("access", "approve", "../user"), "not an id"),
        (("access", "rules", "set", "--socket", "wiki"), "nothing to change"),
        (("access", "rules", "set", "--why", "x"), "nothing to change"),
        (("access", "rules", "set", "--approver", "bob"), "@"),
        (("access", "rules", "set", "--approver", "a@b.test", "--no-approvers"), "one of"),
        (("guest", "create", "--socket", "wiki", "--email", "a@b@c.d", "--minutes", "1"), "one @"),
        (_GUEST, "--ends"),
        ((*_GUEST, "--minutes", "1", "--ends", "2026-12-01T09:00:00Z"), "--ends"),
        ((*_GUEST, "--ends", "2020-12-01T09:00:00Z"), "before it starts"),
        ((*_GUEST, "--ends", "tomorrow"), "2026-03-01T09:00:00+01:00"),
        ((*_GUEST, "--ends", "2026-12-01T09:00:00"), "offset"),
        ((*_GUEST, "--ends", "2026-02-30T09:00:00Z"), "offset"),
        ((*_GUEST, "--starts", "9999-12-31T23:59:00Z", "--minutes", "5"), "end of time"),
        ((*_GUEST, "--starts", "0001-01-01T00:00:00+23:00", "--minutes", "5"), "offset"),
    ],
)
def test_wrong_input_is_one_line(
    words: tuple[str, ...], said: str, ctl: Ctl, asked: list[Any]
) -> None:
    done = ctl.run(*words)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done
    assert said in done.stderr.decode()
    assert [one for one in asked if one[0] != "GET"] == []


def test_a_name_that_is_not_there_or_there_twice(ctl: Ctl, asked: list[Any]) -> None:
    done = ctl.run("guest", "ls", "--socket", "nowhere")
    assert done.stderr == b"mysocketctl: no socket of yours is called 'nowhere'\n"
    ctl.run("socket", "create", "--name", "wiki")
    done = ctl.run("guest", "ls", "--socket", "wiki")
    assert (done.returncode, done.stderr) == (
        1,
        b"mysocketctl: 2 sockets are called 'wiki'; say the id\n",
    )

"""``policy`` and ``prefix-list``: what is asked of the gateway, what is shown, and wrong input."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import DNS_NAME, Ctl
from tests.support.terminal import on_a_terminal
from tests.support.wire_gateway import WireGateway

ID = "5f0c4a5e-8a0e-4d5c-9a57-6d6f1d2a3b4c"
STORED = {
    "version": "v2",
    "action": ["http"],
    "condition": {
        "who": {"email": ["alice@example.com"]},
        "when": {"time_of_day_after": "18:00", "weekday": ["mon"]},
    },
}
GOOD = "version: v2\naction: [http]\ncondition:\n  who: {email: [bob@example.com]}\n"
BAD = "version: v2\naction: [http]\ncondition:\n  who: {email: [nobody]}\n  color: red\n"


def stored(**changes: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "name": "office",
        "description": "",
        "version": 3,
        "org_wide": False,
        "socket_ids": ["s-1"],
        "policy_data": STORED,
    } | changes


@pytest.fixture
def asked(ctl: Ctl, gateway: WireGateway) -> list[tuple[str, str, Any]]:
    """Somebody logged in, with one socket and one policy; what is asked from now on."""
    ctl.log_in()
    change = {"version": 3, "change": "changed", "by": "alice@example.com", "why": "ticket 12"}
    gateway.more |= {
        ("GET", "/policies"): lambda *_: (200, [stored()]),
        ("GET", "/policies/find"): lambda *_: (200, stored()),
        ("POST", "/policies"): lambda *_: (200, stored(version=1)),
        ("GET", f"/policy/{ID}"): lambda *_: (200, stored()),
        ("PUT", f"/policy/{ID}"): lambda *_: (200, stored(version=4)),
        ("DELETE", f"/policy/{ID}"): lambda *_: (204, None),
        ("PUT", f"/policy/{ID}/socket"): lambda *_: (200, ["s-1"]),
        ("GET", f"/policy/{ID}/history"): lambda *_: (200, [change]),
        ("GET", f"/policy/{ID}/version/2"): lambda *_: (200, change | {"policy_data": {"v": 2}}),
        ("POST", f"/policy/{ID}/rollback"): lambda *_: (200, stored(version=4)),
    }
    assert ctl.run("socket", "create", "--name", "wiki").returncode == 0
    gateway.requests.clear()
    return gateway.requests


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "office.yaml"
    path.write_text(GOOD)
    return str(path)


def test_policies_are_listed_and_shown(ctl: Ctl, asked: list[Any]) -> None:
    assert b"office" in ctl.run("policy", "ls").stdout
    assert json.loads(ctl.run("policy", "ls", "--json", "--socket", "wiki").stdout) == [stored()]
    for name in ("office", ID, ID.upper()):
        shown = ctl.run("policy", "show", name).stdout.decode()
        assert "email: [alice@example.com]" in shown
        assert "time_of_day_after: '18:00'" in shown
    assert b"ticket 12" in ctl.run("policy", "history", "office").stdout
    assert b"v: 2" in ctl.run("policy", "show", "office", "--version", "2").stdout


def test_a_shown_document_can_be_sent_back(ctl: Ctl, asked: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "office.yaml"
    path.write_bytes(ctl.run("policy", "show", "office", "--yaml").stdout)
    done = ctl.run("policy", "edit", "office", "--file", str(path), "--why", "as it was")
    assert done.returncode == 0, done
    method, where, body = asked[-1]
    assert (method, where) == ("PUT", f"/policy/{ID}")
    assert body == {"version": 3, "why": "as it was", "policy_text": path.read_text()}


def test_a_policy_is_made_of_a_file_and_attached(ctl: Ctl, asked: list[Any], file: str) -> None:
    done = ctl.run(
        *("policy", "create", "--name", "office", "--why", "new", "--org-wide"),
        *("--socket", DNS_NAME, file),
    )
    assert done.returncode == 0, done
    assert asked[-2:] == [
        (
            "POST",
            "/policies",
            {"name": "office", "why": "new", "org_wide": True, "policy_text": GOOD},
        ),
        (
            "PUT",
            f"/policy/{ID}/socket",
            {"actions": [{"action": "add", "id": "s-1"}], "why": "new"},
        ),
    ]
    done = ctl.run("policy", "create", "--name", "office", "-", stdin=GOOD.encode())
    assert asked[-1][2] == {"name": "office", "policy_text": GOOD}


def test_a_policy_that_cannot_be_attached_is_there_all_the_same(
    ctl: Ctl, asked: list[Any], gateway: WireGateway, file: str
) -> None:
    problem = {"detail": "It asks for nobody.", "reason": "policy-without-authentication"}
    gateway.refuse[f"PUT /policy/{ID}/socket"] = (400, json.dumps(problem).encode())
    done = ctl.run("policy", "create", "--name", "office", "--socket", "wiki", file)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        "policy office is made, but attached nowhere",
        "mysocketctl: It asks for nobody. (policy-without-authentication)",
    ]


def test_a_decision_is_explained_by_its_id(
    ctl: Ctl, asked: list[Any], gateway: WireGateway
) -> None:
    path = f"GET /audit/decisions/{ID}"
    gateway.refuse[path] = (200, b'{"text": ["deny", "  no \\u001b[31mred"], "effect": "deny"}')
    done = ctl.run("policy", "explain", "--decision", ID)
    assert (done.returncode, done.stdout) == (0, b"deny\n  no [31mred\n")
    gateway.refuse[path] = (200, b'{"effect": "deny", "reasons": ["not-on-list"]}')
    assert b"not-on-list" in ctl.run("policy", "explain", "--decision", ID).stdout


def test_explain_asks_about_somebody(ctl: Ctl, asked: list[Any], gateway: WireGateway) -> None:
    gateway.refuse["POST /policies/explain"] = (200, b'{"text": ["allow"], "effect": "allow"}')
    done = ctl.run(
        *("policy", "explain", "--socket", "wiki", "--as", "A@example.com", "--provider", "google"),
        *("--group", "google:corp.test", "--from", "2001:DB8::1", "--country", "nl", "--asn", "7"),
        *("--at", "2026-03-01T09:00:00+01:00", "--action", "http", "--client-proof"),
        *("--assurance", "local-password"),
    )
    assert (done.returncode, done.stdout) == (0, b"allow\n"), done
    assert asked[-1][2] == {
        "socket": "s-1",
        "as": "a@example.com",
        "provider": "google",
        "groups": ["google:corp.test"],
        "from": "2001:db8::1",
        "country": "NL",
        "asn": 7,
        "at": "2026-03-01T08:00:00+00:00",
        "action": "http",
        "client_proof": True,
        "assurance": "local-password",
    }


def test_attach_detach_delete_and_rollback(ctl: Ctl, asked: list[Any]) -> None:
    for verb, action in (("attach", "add"), ("detach", "remove")):
        done = ctl.run("policy", verb, "office", "--socket", "wiki", "--why", "x")
        assert done.returncode == 0, done
        assert DNS_NAME.encode() in done.stdout
        assert asked[-1][2] == {"actions": [{"action": action, "id": "s-1"}], "why": "x"}
    assert ctl.run("policy", "rollback", "office", "--to", "1", "--why", "y").returncode == 0
    assert asked[-1][2] == {"version": 1, "newest": 3, "why": "y"}
    assert ctl.run("policy", "delete", "office", "--why", "a b&c").returncode == 0
    assert asked[-1][:2] == ("DELETE", f"/policy/{ID}")


def test_faults_have_lines_and_nothing_is_sent(ctl: Ctl, asked: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD)
    for words in (
        ("create", "--name", "office", str(path)),
        ("edit", "office", "--file", str(path)),
        ("diff", str(path), "--policy", "office"),
    ):
        done = ctl.run("policy", *words)
        assert done.returncode == 1, done
        *faults, said = done.stderr.decode().splitlines()
        assert said == f"mysocketctl: 2 faults in {path}; nothing was changed"
        assert [fault.partition(": ")[0] for fault in faults] == [f"{path}:4", f"{path}:5"]
    assert asked == []


def test_what_only_the_gateway_finds_has_lines_too(
    ctl: Ctl, asked: list[Any], gateway: WireGateway, file: str
) -> None:
    fault = {"path": "expect[0]", "line": 7, "message": "came out \u001b[31m as deny"}
    problem = {"detail": "A case fails.", "reason": "policy-case-failed", "faults": [fault]}
    gateway.refuse["POST /policies"] = (400, json.dumps(problem).encode())
    done = ctl.run("policy", "create", "--name", "office", file)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        f"{file}:7: expect[0]: came out [31m as deny",
        f"mysocketctl: a fault in {file}; nothing was changed",
    ]


def editor(tmp_path: Path, *texts: str) -> str:
    """A command that writes one text after the other."""
    for number, text in enumerate(texts):
        (tmp_path / f"text-{number}").write_text(text)
    program = tmp_path / "editor.py"
    program.write_text(
        "import pathlib, sys\n"
        f"left = sorted(pathlib.Path({str(tmp_path)!r}).glob('text-*'))\n"
        "if not left: sys.exit(1)\n"
        "pathlib.Path(sys.argv[1]).write_text(left[0].read_text()); left[0].unlink()\n"
    )
    return f"{sys.executable} {program}"


def test_edit_comes_back_with_the_faults(ctl: Ctl, asked: list[Any], tmp_path: Path) -> None:
    done = ctl.run("policy", "edit", "office", "--why", "z", EDITOR=editor(tmp_path, BAD, GOOD))
    assert done.returncode == 0, done
    assert asked[-1][2] == {"version": 3, "why": "z", "policy_text": GOOD}
    assert list((ctl.home / ".mysocket" / "drafts").iterdir()) == []


def test_giving_up_keeps_the_draft(ctl: Ctl, asked: list[Any], tmp_path: Path) -> None:
    done = ctl.run("policy", "edit", "office", EDITOR=editor(tmp_path, BAD))
    (draft,) = (ctl.home / ".mysocket" / "drafts").iterdir()
    assert draft.read_text() == BAD
    assert done.returncode == 1
    assert done.stderr.decode() == (
        f"mysocketctl: given up, nothing was changed; the draft is kept: {draft}\n"
    )
    assert [one for one in asked if one[0] == "PUT"] == []


def test_somebody_elses_change_is_not_overwritten(
    ctl: Ctl, asked: list[Any], gateway: WireGateway, tmp_path: Path
) -> None:
    problem = {"detail": "There is a newer version.", "reason": "policy-version-old"}
    gateway.refuse[f"PUT /policy/{ID}"] = (409, json.dumps(problem).encode())
    done = ctl.run("policy", "edit", "office", EDITOR=editor(tmp_path, GOOD))
    (draft,) = (ctl.home / ".mysocket" / "drafts").iterdir()
    assert draft.read_text().endswith(GOOD)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines() == [
        f"the draft is kept: {draft}",
        "mysocketctl: There is a newer version. (policy-version-old)",
    ]


def test_edit_without_a_change_asks_for_nothing(ctl: Ctl, asked: list[Any]) -> None:
    done = ctl.run("policy", "edit", "office", EDITOR="true")
    assert (done.returncode, done.stderr) == (0, b"Nothing was changed.\n")
    assert [one for one in asked if one[0] == "PUT"] == []
    assert ctl.run("policy", "edit", "office", "--description", "d").returncode == 0
    assert asked[-1][2] == {"version": 3, "description": "d"}


def lines(*objects: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in objects)


def entry(email: str | None, **changes: Any) -> dict[str, Any]:
    return {
        "email": email,
        "issuer": "https://idp.test",
        "subject": "7",
        "dnsname": DNS_NAME,
        "action": "http",
        "count": 4,
        "last_seen": "2026-11-23T12:00:00Z",
        "before": "email-allowed",
        "after": "not-on-list",
    } | changes


RESULT = {
    "type": "result",
    "records": 90,
    "gained": 4,
    "lost": 12,
    "people_gained": 1,
    "people_lost": 2,
    "unreadable": 0,
    "since": "2026-10-24T00:00:00Z",
    "until": "2026-11-23T00:00:00Z",
    "gain": [entry("bob@example.com", before="not-on-list", after="email-allowed")],
    "lose": [entry("alice@example.com"), entry("alice@example.com", action="ssh"), entry(None)],
}
PROGRESS = [{"type": "progress", "done": done, "total": 90} for done in (0, 30, 60, 90)]


def test_diff_says_who_gains_and_who_loses(
    ctl: Ctl, asked: list[Any], gateway: WireGateway, file: str
) -> None:
    gateway.refuse["POST /policies/diff"] = (200, lines(*PROGRESS, RESULT))
    words = ("policy", "diff", file, "--policy", "office", "--days", "7")
    done = ctl.run(*words)
    assert (done.returncode, done.stderr) == (0, b""), done
    said = done.stdout.decode()
    assert "would gain access: 1 person, 4 requests" in said
    assert "would lose access: 2 people, 12 requests" in said
    assert "https://idp.test 7" in said
    assert asked[-1][2] == {"policy_id": ID, "days": 7, "policy_text": GOOD}
    assert ctl.run(*words, "--fail-on-loss").returncode == 3
    shown = ctl.run(*words, "--json", "--socket", "wiki")
    assert json.loads(shown.stdout)["lose"] == RESULT["lose"]
    assert asked[-1][2]["socket_ids"] == ["s-1"]
    none = {"lose": [], "lost": 0, "people_lost": 0}
    gateway.refuse["POST /policies/diff"] = (200, lines(RESULT | none))
    assert ctl.run(*words, "--fail-on-loss").returncode == 0


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize(
    "changes",
    [
        {"lost": 30, "people_lost": 7, "truncated": True},
        {"lost": 0, "people_lost": 0, "unreadable": 3},
    ],
    ids=["not listed", "not known"],
)
def test_a_loss_that_is_not_listed_is_still_one(
    changes: dict[str, Any],
    form: tuple[str, ...],
    ctl: Ctl,
    asked: list[Any],
    gateway: WireGateway,
    file: str,
) -> None:
    gateway.refuse["POST /policies/diff"] = (200, lines(RESULT | {"lose": []} | changes))
    words = ("policy", "diff", file, "--policy", "office", *form)
    done = ctl.run(*words, "--fail-on-loss")
    assert done.returncode == 3
    if "unreadable" in changes:
        assert b"3 of the 90 requests cannot be decided anew" in done.stderr
        assert done.stderr.endswith(b": exit code 3\n")
        assert b"exit code" not in ctl.run(*words).stderr
    elif not form:
        assert b"would lose access: 7 people, 30 requests" in done.stdout
        assert b"cut short" in done.stderr


@pytest.mark.parametrize("lost", [None, "0", -1, True])
def test_an_answer_that_does_not_say_how_many_lose_is_none(
    lost: Any, ctl: Ctl, asked: list[Any], gateway: WireGateway, file: str
) -> None:
    gateway.refuse["POST /policies/diff"] = (200, lines(RESULT | {"lost": lost, "lose": []}))
    done = ctl.run("policy", "diff", file, "--policy", "office", "--fail-on-loss")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert b"how many: lost" in done.stderr


def test_diff_shows_how_far_it_is_on_a_terminal(
    ctl: Ctl, asked: list[Any], gateway: WireGateway, file: str
) -> None:
    gateway.refuse["POST /policies/diff"] = (200, lines(*PROGRESS, RESULT))
    seen = on_a_terminal(
        [*ctl.program, "policy", "diff", file, "--policy", "office"], ctl.environment
    )
    assert "Deciding anew" in seen
    assert "100%" in seen


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (200, b"", "cut off before its result, so"),
        (200, lines(*PROGRESS[:2]), "cut off before its result at 30 of 90 requests"),
        (200, b"[1]\n", "no JSON object"),
        (200, b"{" * 1000 + b"\n", "no JSON object"),
        (
            200,
            lines({"type": "progress", "done": "x", "total": None}),
            "cut off before its result, so",
        ),
        (200, lines({"type": "problem", "detail": "Gone.", "reason": "gone"}), "Gone. (gone)"),
        (429, b'{"detail": "Two run already.", "reason": "busy"}', "Two run already. (busy)"),
        (204, b"", "answered 204"),
    ],
)
def test_a_replay_that_goes_wrong_is_one_line(
    status: int,
    answer: bytes,
    said: str,
    ctl: Ctl,
    asked: list[Any],
    gateway: WireGateway,
    file: str,
) -> None:
    gateway.refuse["POST /policies/diff"] = (status, answer)
    done = ctl.run("policy", "diff", file, "--policy", "office")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done
    assert said in done.stderr.decode()


def test_a_replay_that_is_cut_off_on_the_way_says_so(
    ctl: Ctl, asked: list[Any], gateway: WireGateway, file: str
) -> None:
    """By a proxy, in one line and with another exit code than an answer has."""
    gateway.refuse["POST /policies/diff"] = (200, lines(*PROGRESS[:3]))
    words = ("policy", "diff", file, "--org-wide", "--fail-on-loss")
    gateway.unsent = 100
    done = ctl.run(*words)
    assert done.returncode == 1
    (said,) = done.stderr.decode().splitlines()
    assert "cut off before its result at 60 of 90 requests" in said
    assert done.stdout == b""


def test_prefix_lists(ctl: Ctl, asked: list[Any], gateway: WireGateway, tmp_path: Path) -> None:
    summary = {"count": 2, "given": 5, "duplicates": 1, "overlaps": 2}
    summary |= {"ipv4": {"24": 1, "8": 1}, "ipv6": {}}  # type: ignore[dict-item]
    kept = {"name": "offices", "count": 2, "version": 1, "summary": summary}
    kept["prefixes"] = ["10.0.0.0/8", "192.0.2.0/24"]
    gateway.more |= {
        ("GET", "/prefix-lists"): lambda *_: (200, [kept]),
        ("GET", "/prefix-lists/offices"): lambda *_: (200, kept),
        ("PUT", "/prefix-lists/offices"): lambda *_: (200, kept),
        ("DELETE", "/prefix-lists/offices"): lambda *_: (204, None),
    }
    path = tmp_path / "offices.txt"
    path.write_text("# ours\n192.0.2.0/24\n")
    done = ctl.run(
        *("prefix-list", "import", "offices", str(path), "--region", "eu", "--service", "EC2"),
        *("--why", "moved"),
    )
    assert done.returncode == 0, done
    shown = done.stdout.decode().split()
    for row in (["duplicates", "|", "1"], ["overlaps", "|", "2"], ["ipv4", "/24", "|", "1"]):
        assert " ".join(row) in " ".join(shown)
    assert shown.index("/8") < shown.index("/24")
    body = {"text": path.read_text(), "region": "eu", "service": "EC2", "why": "moved"}
    assert asked[-1] == ("PUT", "/prefix-lists/offices", body)
    assert b"offices" in ctl.run("prefix-list", "ls").stdout
    bare = ctl.run("prefix-list", "show", "offices", "--prefixes").stdout
    assert bare == b"10.0.0.0/8\n192.0.2.0/24\n"
    assert ctl.run("prefix-list", "delete", "offices").returncode == 0


def test_the_history_of_a_list(ctl: Ctl, asked: list[Any], gateway: WireGateway) -> None:
    """Page by page: what one entry holds may be large."""
    entry = {"change": "changed", "by": "ann@example.com", "at": "2026-03-01T09:00:00+00:00"}
    entry |= {"source": "file", "why": "moved", "summary": {"count": 1}, "prefixes": ["10.0.0.0/8"]}
    entries = [entry | {"version": version} for version in range(12, 0, -1)]

    pages = [entries[10:], entries[:10]]
    gateway.more |= {("GET", "/prefix-lists/offices/history"): lambda *_: (200, pages.pop())}
    shown = ctl.run("prefix-list", "history", "offices")
    rows = [line.split(" | ") for line in shown.stdout.decode().splitlines() if "moved" in line]
    assert [row[0].strip(" |") for row in rows] == [str(one["version"]) for one in entries]
    said = [entry["change"], entry["at"], entry["by"], "1", "file"]
    assert [one.strip() for one in rows[0][1:6]] == said
    assert b"10.0.0.0" not in shown.stdout
    pages += [entries[:2]]
    assert json.loads(ctl.run("prefix-list", "history", "offices", "--json").stdout) == entries[:2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("policy", "create", "FILE"), "--name"),
        (("policy", "create", "--name", "a\x1bb", "FILE"), "printable"),
        (("policy", "create", "--name", "x" * 256, "FILE"), "printable"),
        (("policy", "create", "--name", "x", "/nowhere"), "cannot read /nowhere: No such file"),
        (("policy", "create", "--name", "x", "/"), "Is a directory"),
        (("policy", "create", "--name", "x", "/dev/zero"), "over 1048576 bytes"),
        (("policy", "attach", "office"), "--socket"),
        (("policy", "show", ""), "printable"),
        (("policy", "rollback", "office", "--to", "0"), "range"),
        (("policy", "diff", "FILE"), "--policy"),
        (("policy", "diff", "FILE", "--policy", "office", "--days", "0"), "range"),
        (("policy", "edit", "office", "--why", " "), "printable"),
        (("prefix-list", "import", "a/b", "FILE"), "not a word of letters"),
        (("prefix-list", "import", "a", "/dev/zero"), "over 8388608 bytes"),
    ],
)
def test_wrong_input_is_one_line(
    words: tuple[str, ...], said: str, ctl: Ctl, asked: list[Any], file: str
) -> None:
    done = ctl.run(*(file if word == "FILE" else word for word in words))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done
    assert said in done.stderr.decode()
    assert [one for one in asked if one[0] != "GET"] == []


def test_a_policy_that_is_not_there(ctl: Ctl, asked: list[Any], gateway: WireGateway) -> None:
    gateway.refuse["GET /policies/find"] = (404, b'{"detail": "No.", "reason": "policy-unknown"}')
    done = ctl.run("policy", "show", "none")
    assert (done.returncode, done.stderr) == (
        1,
        b"mysocketctl: no policy of yours is called 'none'\n",
    )


def test_only_what_reads_documents_imports_the_language(ctl: Ctl, asked: list[Any]) -> None:
    watched = Ctl(ctl.home, ctl.environment, (sys.executable, "-X", "importtime", *ctl.program[1:]))
    done = watched.run("policy", "attach", "office", "--socket", "wiki")
    assert done.returncode == 0
    assert b"clients.mysocketctl.commands.policy" in done.stderr
    for heavy in (b" yaml", b" policy.", b"zoneinfo"):
        assert heavy not in done.stderr

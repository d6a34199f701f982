"""``ca reconcile`` with a real gateway: what is found in logs, asked about and said."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ca.formats.ssh_certificate import SshCertificate
from tests.clients.conftest import Ctl, Issue


def accepted(certificate: SshCertificate, **changes: str) -> str:
    said = {
        "key": certificate.fingerprint,
        "id": certificate.key_id.decode(),
        "serial": str(certificate.serial),
        "ca": certificate.ca_fingerprint,
    } | changes
    return (
        "Nov 23 12:00:00 host sshd[7]: Accepted publickey for bob from 192.0.2.1 port 50022 ssh2: "
        "ED25519-CERT {key} ID {id} (serial {serial}) CA ED25519 {ca}\n".format(**said)
    )


def test_a_certificate_that_was_never_issued_shows(
    owner: Ctl, issue: Issue, tmp_path: Path
) -> None:
    _, certificate = issue()
    log = tmp_path / "auth.log"
    noise = "Nov 23 12:00:00 host sshd[7]: Accepted password for bob from 192.0.2.1 port 1 ssh2\n"
    log.write_text(noise + accepted(certificate) * 3)
    fine = owner.run("ca", "reconcile", "--sshd-log", str(log))
    assert (fine.returncode, fine.stderr) == (0, b"")
    forgeries = [
        accepted(certificate, serial="4711"),
        accepted(certificate, key="SHA256:" + "A" * 43),
        accepted(certificate, id=f"x (serial {certificate.serial}) CA ED25519 SHA256:{'A' * 43}"),
    ]
    log.write_text("".join(forgeries) + accepted(certificate))
    done = owner.run("ca", "reconcile", "--sshd-log", "-", "--json", stdin=log.read_bytes())
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["verdicts"] == {"unknown": 1, "different": 2, "issued": 1}
    assert {row["serial"] for row in answer["report"]} == {"4711", str(certificate.serial)}


def test_no_length_of_key_ids_ends_the_run(owner: Ctl, issue: Issue, tmp_path: Path) -> None:
    """As long as ``sshd -E`` writes them: together several times what one call takes."""
    _, certificate = issue()
    log = tmp_path / "auth.log"
    forged = [accepted(certificate, serial=str(n), id="\\303\\274" * 80) for n in range(1, 200)]
    log.write_text("".join([*forged, accepted(certificate)]))
    done = owner.run("ca", "reconcile", "--sshd-log", str(log), "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["verdicts"] == {"unknown": 199, "issued": 1}


def test_a_copy_that_is_used_after_the_end_shows(owner: Ctl, issue: Issue) -> None:
    """Serial, key, key id and CA are those of a true one."""
    _, certificate = issue()
    late = datetime.fromtimestamp(certificate.valid_before + 700, UTC).isoformat()
    lines = [accepted(certificate), accepted(certificate).replace("Nov 23 12:00:00", late)]
    done = owner.run("ca", "reconcile", "--sshd-log", "-", stdin="".join(lines).encode())
    assert done.returncode == 1
    assert b"not good any more" in done.stdout


def test_what_has_no_time_is_said(owner: Ctl, issue: Issue) -> None:
    _, certificate = issue()
    line = accepted(certificate).removeprefix("Nov 23 12:00:00 ")
    done = owner.run("ca", "reconcile", "--sshd-log", "-", stdin=line.encode())
    assert done.returncode == 0
    assert b"1 lines have no time" in done.stdout


def test_a_line_that_cannot_be_read_is_not_passed_over(owner: Ctl, tmp_path: Path) -> None:
    log = tmp_path / "auth.log"
    log.write_text("sshd[7]: Accepted publickey for bob from ::1 port 5 ssh2: RSA-CERT nonsense\n")
    done = owner.run("ca", "reconcile", "--sshd-log", str(log))
    assert done.returncode == 1
    assert b"cannot be read" in done.stdout


def test_connections_of_an_edge_are_asked_about_too(owner: Ctl, tmp_path: Path) -> None:
    let_in = {"kind": "stream", "peer_serial": "1f", "peer_sha256": "ab", "upstream": "/t.sock"}
    refused = {"kind": "stream", "peer_serial": "2f", "details": "certificate expired"}
    log = tmp_path / "requests.jsonl"
    log.write_text("".join(json.dumps(one) + "\n" for one in (let_in, refused, {"kind": "http"})))
    done = owner.run("ca", "reconcile", "--edge-log", str(log), "--json")
    assert done.returncode == 1
    assert [row["serial"] for row in json.loads(done.stdout)["report"]] == ["1f"]


def test_who_was_let_in_where_and_when_is_said_of_each_bad_certificate(
    owner: Ctl, issue: Issue, tmp_path: Path
) -> None:
    _, certificate = issue()
    log = tmp_path / "auth.log.2.gz"
    forged = accepted(certificate, serial="4711").replace("Nov 23", "Nov 22")
    log.write_bytes(gzip.compress((accepted(certificate) + forged * 2).encode()))
    done = owner.run("ca", "reconcile", "--sshd-log", str(log), "--json")
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)["report"]
    places = [place for row in rows if row["serial"] == "4711" for place in row["places"]]
    assert [place["line"] for place in places] == [2, 3]
    assert {(one["login"], one["address"]) for one in places} == {("bob", "192.0.2.1")}
    assert all("-11-22T" in one["seen_at"] for one in places)
    shown = owner.run("ca", "reconcile", "--sshd-log", str(log)).stdout.decode()
    assert "bob from 192.0.2.1 (" in shown
    assert f"{log}:3)" in shown


@pytest.mark.parametrize("file", ["/etc/passwd", "/bin/true", "/nothing/here", "/etc"])
@pytest.mark.parametrize("option", ["--sshd-log", "--edge-log"])
def test_a_file_that_is_no_such_log_is_not_found_to_be_fine(
    owner: Ctl, option: str, file: str
) -> None:
    done = owner.run("ca", "reconcile", option, file)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert b"is it the right file?" in done.stderr or b"cannot read" in done.stderr
    assert b"0 certificates seen" in done.stdout
    assert b"cannot be read" not in done.stdout


def test_a_wrong_file_is_not_read_to_its_end(owner: Ctl, tmp_path: Path) -> None:
    """It may be a gigabyte of somebody else's lines."""
    log = tmp_path / "other.jsonl"
    entry = '{"kind": "http"}'
    log.write_text("\n".join(["no entry"] * 5000 + [entry]))
    done = owner.run("ca", "reconcile", "--edge-log", str(log))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert b"is it the right file?" in done.stderr


def test_a_damaged_archive_is_one_line(owner: Ctl, tmp_path: Path) -> None:
    log = tmp_path / "auth.log.gz"
    log.write_bytes(gzip.compress(b"Nov 23 12:00:00 host sshd[7]: x\n" * 99)[:-9])
    done = owner.run("ca", "reconcile", "--sshd-log", str(log))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


CRON = "Nov 23 22:50:01 srv CRON[1]: pam_unix(cron:session): session opened for user root\n"
QUIET = [
    "",
    CRON,
    CRON.replace("Nov 23 22:50:01", "<78>Nov 23 22:50:01"),
    CRON.replace("Nov 23 22:50:01", "2025-11-23T22:50:01.123456+01:00"),
    "<78>1 2025-11-23T22:50:01Z srv CRON 1 - - session opened\n",
    "2025-11-23T22:50:01+0000 INFO httpx: HTTP Request: POST\n",
    "-- No entries --\n",
]


@pytest.mark.parametrize("said", QUIET)
@pytest.mark.parametrize("archived", [False, True])
def test_a_log_without_a_login_is_no_wrong_file(
    owner: Ctl, tmp_path: Path, said: str, *, archived: bool
) -> None:
    """It was turned over a moment ago, or nobody came that day."""
    log = tmp_path / "auth.log"
    log.write_bytes(gzip.compress(said.encode()) if archived else said.encode())
    done = owner.run("ca", "reconcile", "--sshd-log", str(log), "--json")
    assert (done.returncode, len(done.stderr.splitlines())) == (0, 1), done.stderr
    assert done.stderr.startswith(b"mysocketctl: warning: ")
    (remark,) = json.loads(done.stdout)["files"]
    assert (remark["file"], remark["state"]) == (str(log), "quiet" if said else "empty")


def other_files(folder: Path) -> dict[str, list[str]]:
    """Options that name what has no certificate in it, by what it is."""
    contents = {
        "empty": b"",
        "quiet": CRON.encode(),
        "damaged.gz": gzip.compress(CRON.encode() * 99)[:-9],
        "wrong": b"root:x:0:0:root:/root:/bin/bash\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    names = [*contents, "missing"]
    return {name: ["--sshd-log", str(folder / name)] for name in names} | {
        f"edge, {name}": ["--edge-log", str(folder / name)] for name in names
    }


FAULTY = {"damaged.gz", "wrong", "missing", "edge, quiet", "edge, wrong", "edge, damaged.gz"}


@pytest.mark.parametrize("archived", [False, True])
def test_no_other_file_hides_a_forged_certificate(
    owner: Ctl, issue: Issue, tmp_path: Path, *, archived: bool
) -> None:
    _, certificate = issue()
    forged = tmp_path / "forged.log"
    line = accepted(certificate, serial="777").encode()
    forged.write_bytes(gzip.compress(line) if archived else line)
    named = ["--sshd-log", str(forged)]
    others = other_files(tmp_path)
    for arguments in [
        *([*named, *other] for other in others.values()),
        *([*other, *named] for other in others.values()),
        [*named, *(word for other in others.values() for word in other)],
    ]:
        done = owner.run("ca", "reconcile", *arguments)
        assert done.returncode == 1, (arguments, done.stderr)
        assert b"never issued" in done.stdout, arguments
        assert f"({forged}:1)".encode() in done.stdout
        assert len(done.stderr.splitlines()) == (len(arguments) - 2) // 2


def test_where_nothing_is_bad_what_could_not_be_read_is_the_exit_code(
    owner: Ctl, issue: Issue, tmp_path: Path
) -> None:
    _, certificate = issue()
    log = tmp_path / "auth.log"
    log.write_text(accepted(certificate))
    for name, other in other_files(tmp_path).items():
        done = owner.run("ca", "reconcile", *other, "--sshd-log", str(log))
        faulty = name in FAULTY or name == "edge, missing"
        assert done.returncode == (2 if faulty else 0), name
        assert b"1 certificates seen: 1 issued" in done.stdout
        assert (b"warning: " in done.stderr) is not faulty


def test_what_stands_before_the_damage_of_an_archive_is_asked_about(
    owner: Ctl, issue: Issue, tmp_path: Path
) -> None:
    _, certificate = issue()
    log = tmp_path / "auth.log.gz"
    lines = accepted(certificate, serial="777") + CRON * 99
    log.write_bytes(gzip.compress(lines.encode())[:-9])
    done = owner.run("ca", "reconcile", "--sshd-log", str(log))
    assert done.returncode == 1
    assert f"({log}:1)".encode() in done.stdout
    assert f"cannot read {log}: it is damaged".encode() in done.stderr


SERIAL, DIGEST = "1f" * 16, "ab" * 32
ODD = [
    ("11" * 300, DIGEST),
    ("11" * 20 + "1", DIGEST),
    ("-5", DIGEST),
    ("12 34", DIGEST),
    ("\u0661", DIGEST),
    ("0", DIGEST),
    (SERIAL, "zz zz"),
    (SERIAL, "ab" * 400),
    (SERIAL, "ab"),
    ("\0\x1b[2J", "\0"),
]


def entry(serial: object = SERIAL, digest: object = DIGEST, **more: object) -> str:
    known = {"kind": "stream", "peer_serial": serial, "peer_sha256": digest, "upstream": "/t.sock"}
    return json.dumps(known | more) + "\n"


@pytest.mark.parametrize(("serial", "digest"), ODD)
def test_a_certificate_that_no_gateway_could_issue_hides_no_other(
    owner: Ctl, tmp_path: Path, serial: str, digest: str
) -> None:
    """Envoy lets in serial numbers of any length and sign."""
    log = tmp_path / "requests.jsonl"
    log.write_text(entry() + entry(serial, digest, email="eve@x.test") + entry("2f" * 16))
    done = owner.run("ca", "reconcile", "--edge-log", str(log), "--json")
    assert (done.returncode, done.stderr) == (1, b"")
    answer = json.loads(done.stdout)
    assert answer["verdicts"] == {"unknown": 3}
    (odd,) = (row for row in answer["report"] if row["places"][0]["line"] == 2)
    assert odd["places"][0]["login"] == "eve@x.test"
    assert max(map(len, map(str, odd.values()))) < 400
    shown = owner.run("ca", "reconcile", "--edge-log", str(log))
    assert shown.returncode == 1
    assert f"eve@x.test ({log}:2)".encode() in shown.stdout
    assert b"\x1b" not in shown.stdout


@pytest.mark.parametrize(
    "line",
    [
        entry("\ud800"),
        entry(7),
        entry(["1f"]),
        entry(digest="\ud800"),
        entry(digest=7),
        entry(started_at=7),
        entry(upstream={}),
        entry(details=0, upstream=None),
    ],
)
def test_an_odd_word_of_an_edge_is_a_line_that_cannot_be_read(
    owner: Ctl, tmp_path: Path, line: str
) -> None:
    log = tmp_path / "requests.jsonl"
    log.write_text(entry(email="\ud800", client="\ud800") + line + entry("2f" * 16))
    done = owner.run("ca", "reconcile", "--edge-log", str(log))
    assert (done.returncode, done.stderr) == (1, b"")
    assert f"cannot be read: {log}:2".encode() in done.stdout
    assert b"2 certificates seen" in done.stdout

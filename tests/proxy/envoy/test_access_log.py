import json
from datetime import UTC, datetime

import pytest

from proxy.envoy.access_log import NO_CHAIN, parse_record

LINE = {
    "at": "app.edge.localhost",
    "kind": "http",
    "started_at": "2026-11-23T10:00:00.123+00:00",
    "client": "203.0.113.9",
    "status": 200,
    "bytes_sent": 5,
    "email": None,
    "flags": "-",
}


def line(**changes: object) -> bytes:
    return json.dumps(LINE | changes).encode() + b"\n"


def test_a_line_becomes_a_record() -> None:
    record = parse_record(line())
    assert record.started_at == datetime(2026, 11, 23, 10, 0, 0, 123000, UTC)
    assert (record.host, record.status, record.bytes_sent) == ("app.edge.localhost", 200, 5)
    assert (record.email, record.flags, record.bytes_received) == ("", "", 0)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"kind": "x"}', b'{"kind": "http"}', b"\xff"])
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any kind of it
        parse_record(text)


@pytest.mark.parametrize(
    ("kind", "details", "refused", "failed"),
    [
        ("http", "via_upstream", "", ""),
        ("http", None, "", ""),
        ("http", "ext_authz_denied", "ext_authz_denied", ""),
        (
            "http",
            "rbac_access_denied_matched_policy[misdirected]",
            "rbac_access_denied_matched_policy[misdirected]",
            "",
        ),
        ("http", "no_healthy_upstream", "", "no_healthy_upstream"),
        ("http", "ext_authz_error", "", "ext_authz_error"),
        ("stream", "-", "", ""),
        ("stream", "certificate expired", "certificate expired", ""),
    ],
)
def test_who_was_refused_and_what_failed(
    kind: str, details: str | None, refused: str, failed: str
) -> None:
    record = parse_record(line(kind=kind, details=details))
    assert (record.refused, record.failed) == (refused, failed)


def test_a_stream_that_reached_its_origin_was_not_refused() -> None:
    """However it ended: an ssh that hangs up leaves a reset in the details."""
    details = "TLS_error:|33554536:system library:OPENSSL_internal:Connection_reset_by_peer"
    record = parse_record(line(kind="stream", details=details, upstream="/run/t/1.sock"))
    assert (record.refused, record.failed) == ("", "")


def test_a_stream_no_chain_wanted_was_refused() -> None:
    refused = line(kind="stream", flags="NR")
    assert parse_record(refused).refused == NO_CHAIN
    assert parse_record(line(kind="stream", flags="UH")).refused == ""
    assert parse_record(line(kind="http", flags="NR")).refused == ""


def test_a_connection_says_which_certificate_it_showed() -> None:
    record = parse_record(
        line(kind="stream", peer_serial="1f", peer_sha256="ab", peer_issuer="CN=i")
    )
    assert (record.peer_serial, record.peer_sha256, record.peer_issuer) == ("1f", "ab", "CN=i")

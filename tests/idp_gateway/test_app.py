"""The application around the routes: problem documents, limits, headers, documentation."""

import json
import sqlite3
import uuid

import httpx
import pytest
from sqlalchemy.exc import IntegrityError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from idp_gateway import errors
from idp_gateway.app import create_app
from idp_gateway.bounds import MAX_BODY_BYTES, MAX_EDGE_BODY_BYTES, MAX_REPORTED_TUNNELS
from idp_gateway.composition import Gateway
from idp_gateway.problems import status_of
from tests.idp_gateway.test_authority import csr
from tests.support.in_process import client_of


def assert_problem(answer: httpx.Response, status: int, reason: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["status"], body["reason"]) == (status, reason)
    assert body["error_message"] == body["detail"]
    assert body["type"].endswith(reason)
    assert body["title"]


def test_every_failure_is_a_problem_document(api: httpx.Client) -> None:
    assert_problem(api.get("/no/such/place"), 404, "not-found")
    assert_problem(api.delete("/healthz"), 405, "method-not-allowed")
    json = {"content-type": "application/json"}
    assert_problem(api.post("/login", content="{", headers=json), 400, "json-invalid")
    assert_problem(api.post("/login", content="[1]", headers=json), 400, "input-invalid")
    assert_problem(api.get("/internal/feed"), 401, "edge-key-invalid")


def test_a_wrong_field_is_named_and_its_value_is_not_repeated(api: httpx.Client) -> None:
    answer = api.post("/login", json={"email": "secret-in-wrong-place", "password": 7})
    assert answer.status_code == 400
    assert answer.json()["field"] in {"email", "password"}
    assert "secret-in-wrong-place" not in answer.text


def test_what_goes_wrong_inside_stays_inside(gateway: Gateway) -> None:
    app = create_app(gateway)

    @app.get("/boom")
    def boom() -> None:
        raise RuntimeError("the password is hunter2")

    @app.get("/ours")
    def ours() -> None:
        raise errors.AccessDenied("no", decision_id="d1", reason="not-on-list")

    @app.get("/slow")
    def slow() -> None:
        raise errors.TooManyAttempts("later", retry_after=30)

    with client_of(app, gateway.settings.base_url) as client:
        transport = client._transport
        transport._inner.raise_app_exceptions = False  # type: ignore[attr-defined]
        answer = client.get("/boom")
        assert_problem(answer, 500, "internal-error")
        assert "hunter2" not in answer.text
        denied = client.get("/ours")
        assert_problem(denied, 403, "not-on-list")
        assert denied.json()["decision_id"] == "d1"
        late = client.get("/slow")
        assert_problem(late, 429, "too-many-attempts")
        assert late.headers["retry-after"] == "30"


@pytest.mark.parametrize(
    "failure",
    [
        OperationalError("INSERT hunter2", {"x": "hunter2"}, Exception("disk\nis full")),
        InternalError("INSERT", {}, Exception("disk is full")),
        InterfaceError("INSERT", {}, Exception("disk is full")),
        PoolTimeout("disk is full"),
        sqlite3.OperationalError("database or disk is full"),
    ],
)
def test_a_database_that_fails_is_one_line_and_may_be_asked_again(
    failure: Exception, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(gateway)

    @app.get("/full")
    def full() -> None:
        raise failure

    with client_of(app, gateway.settings.base_url) as client:
        answer = client.get("/full")
    assert_problem(answer, 503, "store-unavailable")
    assert answer.headers["retry-after"] == "5"
    (said,) = (one for one in caplog.records if one.name == "idp_gateway.problems")
    assert said.exc_info is None
    assert said.getMessage().endswith("disk is full")
    assert "\n" not in said.getMessage()
    assert "hunter2" not in caplog.text + answer.text


def test_what_the_database_says_of_our_mistakes_is_no_trouble_that_passes(
    gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(gateway)

    @app.get("/wrong")
    def wrong() -> None:
        raise IntegrityError("INSERT", {}, Exception("a key twice"))

    with client_of(app, gateway.settings.base_url) as client:
        transport = client._transport
        transport._inner.raise_app_exceptions = False  # type: ignore[attr-defined]
        assert_problem(client.get("/wrong"), 500, "internal-error")
    assert any(one.exc_info for one in caplog.records)


def test_every_error_of_ours_has_a_status() -> None:
    def below(kind: type[Exception]) -> set[type[Exception]]:
        return {kind}.union(*(below(child) for child in kind.__subclasses__()))

    internal = {errors.GatewayError, errors.SettingsError}
    for kind in below(errors.GatewayError) - internal:
        if kind.__module__ == "idp_gateway.errors":
            assert status_of(kind.__new__(kind)) != 500, kind


def test_a_body_has_a_limit_announced_or_not(api: httpx.Client) -> None:
    big = b"x" * (MAX_BODY_BYTES + 1)
    assert_problem(api.post("/login", content=big), 413, "body-too-large")
    chunked = api.post("/login", content=iter([big[:1000]] * 70))
    assert_problem(chunked, 413, "body-too-large")
    for length in ("-1", "1e3", "x"):
        answer = api.post("/login", content=b"{}", headers={"content-length": length})
        assert answer.status_code == 413


def test_every_answer_ties_the_browsers_hands(api: httpx.Client) -> None:
    for path in ("/healthz", "/no/such", "/docs", "/openapi.json"):
        headers = api.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"


def test_the_documentation_needs_no_network(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.status_code == 200
    assert "/api/v1/socket" in page.text
    for forbidden in ("<script", "http://", "//cdn", "<style"):
        assert forbidden not in page.text
    document = api.get("/openapi.json").json()
    assert "/api/v1/login" in document["paths"]


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_the_api_is_served_for_both_generations_of_clients(api: httpx.Client, prefix: str) -> None:
    assert api.get(f"{prefix}/socket").status_code == 401


def test_an_edge_gets_a_certificate_and_reports(api: httpx.Client, gateway: Gateway) -> None:
    api.headers["authorization"] = f"Bearer {gateway.edge_key.decode()}"
    answer = api.post("/internal/server-certificate", json={"csr": csr()})
    assert answer.status_code == 200
    assert answer.json()["certificate_chain"].count("BEGIN CERTIFICATE") == 2
    assert "T" in answer.json()["not_after"]
    report = {
        "edge_id": "e1",
        "tunnels": [
            {"tunnel_id": "x", "connected_at": "2026-11-23T12:00:00Z", "peer": "192.0.2.1:9"}
        ],
    }
    assert api.post("/internal/report", json=report).status_code == 204
    ack = {"edge_id": "e1", "revision": 1}
    assert api.post("/internal/feed/ack", json=ack).status_code == 204
    for path, body in (
        ("server-certificate", {"csr": "x"}),
        ("server-certificate", {"csr": "x" * 20_000}),
        ("server-certificate", {}),
        ("feed/ack", {"edge_id": "../e1", "revision": 1}),
        ("feed/ack", {"edge_id": "e1", "revision": -1}),
        ("feed/ack", {"edge_id": "e1", "revision": 1, "more": 1}),
        ("report", {"edge_id": "e1", "tunnels": [{"tunnel_id": "x"}]}),
    ):
        assert api.post(f"/internal/{path}", json=body).status_code == 400


def test_the_longest_report_the_form_takes_fits_into_a_body() -> None:
    longest = {
        "tunnel_id": str(uuid.UUID(int=0)),
        "connected_at": "2026-11-23T12:00:00.000000+00:00",
        "peer": "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
    }
    report = {"edge_id": "e" * 64, "tunnels": [longest] * MAX_REPORTED_TUNNELS}
    assert len(json.dumps(report)) < MAX_EDGE_BODY_BYTES

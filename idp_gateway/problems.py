"""Errors as HTTP answers: the only place where a status code is chosen (RFC 9457)."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ca.errors import (
    CaError,
    CsrError,
    IssuanceError,
    KeyStoreError,
    PrincipalError,
    SelfCheckError,
    SubjectKeyError,
)
from idp_gateway import errors
from idp_gateway.store.database import DatabaseUnavailable, words_of
from policy.errors import PolicyError

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

_MAX_FIELD_LENGTH = 200
_STORE_RETRY_SECONDS = 5

_STATUS: Mapping[type[Exception], int] = {
    errors.BodyTooLarge: 413,
    errors.InvalidInput: 400,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NotCounted: 429,
    errors.TooManyAttempts: 429,
    errors.ListsBusy: 503,
    errors.PortsExhausted: 503,
    errors.ProviderFailed: 502,
    # A token or agent may be back soon; a certificate that fails its own checks is our mistake.
    IssuanceError: 503,
    KeyStoreError: 503,
    SelfCheckError: 500,
    PolicyError: 400,
    SubjectKeyError: 400,
    CsrError: 400,
    # A mailbox like a*b@… is an address, but no name OpenSSH of every age reads as one.
    PrincipalError: 400,
}


def status_of(error: Exception) -> int:
    """The HTTP status of one of our errors; 500 for one that has none."""
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return 500


def problem(
    status: int,
    reason: str,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    **members: Any,
) -> JSONResponse:
    """One problem document. ``error_message`` repeats ``detail`` for clients of 2022."""
    body = {
        "type": f"urn:mysocket:problem:{reason}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "reason": reason,
        "error_message": detail,
    }
    return JSONResponse(body | members, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


def problem_of(error: errors.GatewayError | PolicyError | CaError) -> JSONResponse:
    """The problem document of one of our own errors."""
    status = status_of(error)
    if status == 503 and isinstance(error, CaError):
        # Which token or agent, and why, is for the operator.
        log.error("no signature: %s", error)
        detail = "the key that signs this is out of reach; try again later"
        return problem(status, error.reason, detail)
    if status >= 500 and not isinstance(error, errors.GatewayError):
        log.error("request failed", exc_info=error)
        return problem(500, "internal-error", "something went wrong here; try again")
    members: dict[str, Any] = {}
    headers: dict[str, str] = {}
    if isinstance(error, errors.AccessDenied):
        members["decision_id"] = error.decision_id
    if isinstance(error, errors.InvalidInput) and error.field:
        members["field"] = error.field
    if isinstance(error, errors.PolicyRefused):
        members["faults"] = list(error.faults)
        if error.cases:
            members["cases"] = list(error.cases)
    if isinstance(error, errors.PrefixListInUse):
        members["policies"] = list(error.policies)
    if isinstance(error, errors.TooManyAttempts | errors.ListsBusy):
        headers["retry-after"] = str(error.retry_after)
    return problem(status, error.reason, str(error), headers=headers, **members)


def install_problems(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem document, never with a traceback."""
    for kind in (errors.GatewayError, PolicyError, CaError):
        app.add_exception_handler(kind, _ours)
    for failure in DatabaseUnavailable:
        app.add_exception_handler(failure, _store_unavailable)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unexpected)


def _ours(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.GatewayError | PolicyError | CaError)  # noqa: S101
    return problem_of(error)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return problem(400, "json-invalid", "the body is not valid JSON")
    field = _field_of(first)
    message = first["msg"].removeprefix("Value error, ")
    # Our own checks name their reason; pydantic's names have underscores and are not ours to keep.
    reason = first["type"] if "-" in first["type"] else "input-invalid"
    # Nothing of the value itself: it may be a password.
    detail = f"{field}: {message}" if field else message
    return problem(400, reason, detail, field=field or "body")


def _field_of(error: Mapping[str, Any]) -> str:
    """Where the error is, safe to print: a member's name may be anything JSON can say."""
    named = error.get("ctx", {}).get("field")
    place = named or ".".join(part for part in error["loc"][1:] if isinstance(part, str))
    return str(place).encode("ascii", "backslashreplace").decode("ascii")[:_MAX_FIELD_LENGTH]


def _http(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    phrase = HTTPStatus(error.status_code).phrase
    reason = phrase.lower().replace(" ", "-").replace("'", "")
    return problem(error.status_code, reason, str(error.detail or phrase), headers=error.headers)


def _gone(_request: Request, _error: Exception) -> JSONResponse:
    """For nobody, and no fault of ours: whoever asked hung up in the middle of the body."""
    return problem(400, "body-incomplete", "the body ended before its end")


def _store_unavailable(_request: Request, error: Exception) -> JSONResponse:
    # In a line: whoever asks again makes another, and a full disk is often the log's as well.
    log.error("the database does not do what it is asked: %s", words_of(error))
    detail = "the gateway's database is out of reach or takes no write; try again later"
    headers = {"retry-after": str(_STORE_RETRY_SECONDS)}
    return problem(503, "store-unavailable", detail, headers=headers)


def _unexpected(_request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", exc_info=error)
    return problem(500, "internal-error", "something went wrong here; try again")

"""The gateway's HTTP API: the one place that talks to it.

Errors are problem documents (RFC 9457) or OAuth errors (RFC 6749 §5.2); both become typed errors
with one printable sentence. Names below ``localhost`` are dialled on loopback without asking the
resolver (RFC 6761 §6.3).
"""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx

from clients.mysocketctl.errors import (
    Fault,
    GatewayRefused,
    GatewayUnreachable,
    InvalidInput,
    NotLoggedIn,
    ProtocolViolation,
)
from clients.mysocketctl.names import dial_address, is_loopback_name, parse_host_name, printable
from clients.mysocketctl.settings import Settings
from clients.mysocketctl.tls import client_context

MAX_ANSWER = 16 << 20
"""Longest answer read, in bytes."""
_IN_FORCE = "x-mysocket-in-force"
_SHORT_PAUSES = {"1", "2"}
_TRIES = 4
_TIMEOUT = httpx.Timeout(30.0, connect=10.0)

Json = Any
"""A decoded JSON value from the gateway; nothing in it is trusted to have a shape."""


class _LoopbackNames(httpx.BaseTransport):
    """Dials ``*.localhost`` on loopback; SNI, Host and verification keep the name."""

    def __init__(self, inner: httpx.BaseTransport) -> None:
        self._inner = inner

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if is_loopback_name(host):
            request.extensions = {**request.extensions, "sni_hostname": host}
            request.url = request.url.copy_with(host=dial_address(host))
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


def parse_api_url(text: str) -> str:
    """The base address: https, or http to loopback. Raises InvalidInput."""
    problem = f"not an https address of a gateway: {printable(text)!r}"
    try:
        parts = urlsplit(text)
        host, _port = parse_host_name(parts.hostname or ""), parts.port
    except (ValueError, InvalidInput) as error:
        raise InvalidInput(problem) from error
    plain_loopback = parts.scheme == "http" and (is_loopback_name(host) or host == "127.0.0.1")
    if (
        not (parts.scheme == "https" or plain_loopback)
        or parts.query
        or parts.fragment
        or "@" in text
    ):
        raise InvalidInput(problem)
    return text


class GatewayApi:
    """A connection to one gateway; use as a context."""

    def __init__(self, settings: Settings, *, api_token: str | None = None) -> None:
        """Raises InvalidInput for an address or CA file that makes no sense."""
        self.base = parse_api_url(settings.api_url)
        self.api_token = api_token
        self.in_force = True
        """Whether every edge has confirmed the last change, as far as the gateway says."""
        loopback = is_loopback_name(urlsplit(self.base).hostname or "")
        transport = httpx.HTTPTransport(verify=client_context(settings.ca_file))
        self._http = httpx.Client(
            transport=_LoopbackNames(transport),
            timeout=_TIMEOUT,
            trust_env=not loopback,
            headers={"accept": "application/json", "user-agent": "mysocketctl"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.close()

    def get(self, path: str, *, token: str | None = None) -> Json:
        return self._call("GET", path, token=token or self.api_token)

    def post(self, path: str, body: Json, *, token: str | None = None) -> Json:
        return self._call("POST", path, body=body, token=token or self.api_token)

    def put(self, path: str, body: Json) -> Json:
        return self._call("PUT", path, body=body, token=self.api_token)

    def delete(self, path: str) -> None:
        self._call("DELETE", path, token=self.api_token)

    def post_for_lines(self, path: str, body: Json) -> Iterator[dict[str, Json]]:
        """The objects of an answer that comes line by line (NDJSON), each as it comes."""
        request = self._http.build_request(
            "POST",
            self.base + path,
            json=body,
            headers={"x-access-token": self.api_token} if self.api_token else None,
        )
        try:
            response = self._http.send(request, stream=True)
            with contextlib.closing(response):
                if response.status_code != 200:
                    _decode(response, _read_limited(response))
                    raise ProtocolViolation(f"the gateway answered {response.status_code}")
                yield from map(_object, _lines(response))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._no_answer(error) from error

    def post_form(self, path: str, form: Mapping[str, str]) -> Json:
        """An OAuth request (RFC 6749 §4.1.3); no token."""
        return self._call("POST", path, form=form)

    def get_public(self, path: str, *, seconds: float, most: int) -> bytes:
        """What everybody may fetch, as it is; at most so many bytes, in so many seconds.

        Raises:
            GatewayUnreachable: no answer, or not in time.
            GatewayRefused: another answer than 200.
        """
        ends = time.monotonic() + seconds
        try:
            with self._http.stream("GET", self.base + path, timeout=seconds) as response:
                raw = _read_limited(response, most=most, ends=ends)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._no_answer(error) from error
        if response.status_code != 200:
            raise GatewayRefused(
                f"the gateway answered {response.status_code}", status=response.status_code
            )
        return raw

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        form: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Json:
        request = self._http.build_request(
            method,
            self.base + path,
            json=body,
            data=form,
            headers={"x-access-token": token} if token else None,
        )
        response, raw = self._send(request)
        for _ in range(_TRIES - 1):
            pause = _pause(response)
            if pause is None:
                break
            time.sleep(pause)
            response, raw = self._send(request)
        self.in_force = response.headers.get(_IN_FORCE) != "false"
        return _decode(response, raw)

    def _send(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        try:
            response = self._http.send(request, stream=True)
            try:
                return response, _read_limited(response)
            finally:
                response.close()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._no_answer(error) from error

    def _no_answer(self, error: Exception) -> GatewayUnreachable:
        why = printable(str(error)) or type(error).__name__
        return GatewayUnreachable(f"no answer from {self.base}: {why}{_hint(why)}")


def _pause(response: httpx.Response) -> int | None:
    """Seconds after which to ask again what was not done because too much was going on for a moment
    (RFC 6585 §4); ``None`` if that is not why, or it takes longer than anybody wants to wait.
    """
    asked = response.headers.get("retry-after", "")
    if response.status_code != HTTPStatus.TOO_MANY_REQUESTS or asked not in _SHORT_PAUSES:
        return None
    return int(asked)


def _hint(why: str) -> str:
    return " (MYSOCKET_CA_FILE names further roots)" if "CERTIFICATE_VERIFY_FAILED" in why else ""


def _read_limited(
    response: httpx.Response, *, most: int = MAX_ANSWER, ends: float = math.inf
) -> bytes:
    """The body, until ``ends`` of the monotonic clock."""
    raw = bytearray()
    for piece in response.iter_bytes():
        raw += piece
        if len(raw) > most:
            raise ProtocolViolation(f"the gateway's answer is longer than {most} bytes")
        if time.monotonic() > ends:
            raise httpx.ReadTimeout("the answer takes too long")
    return bytes(raw)


def _lines(response: httpx.Response) -> Iterator[bytes]:
    """The body's lines that are not empty; together at most ``MAX_ANSWER`` bytes."""
    size, rest = 0, b""
    for piece in response.iter_bytes():
        size += len(piece)
        if size > MAX_ANSWER:
            raise ProtocolViolation(f"the gateway's answer is longer than {MAX_ANSWER} bytes")
        *whole, rest = (rest + piece).split(b"\n")
        yield from filter(None, whole)
    if rest:
        yield rest


def _object(line: bytes) -> dict[str, Json]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ProtocolViolation("a line of the gateway's answer is no JSON object")
    return document


def _decode(response: httpx.Response, raw: bytes) -> Json:
    if response.status_code == 204:
        return None
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if response.status_code >= 300:
        raise _refusal(response, document)
    if document is None:
        raise ProtocolViolation("the gateway's answer is not JSON")
    return document


def _refusal(response: httpx.Response, document: Json) -> GatewayRefused:
    if response.status_code == 401 and response.request.headers.get("x-access-token"):
        return NotLoggedIn()
    fields = document if isinstance(document, dict) else {}
    return refusal_of(fields, response.status_code)


def refusal_of(fields: Mapping[str, Json], status: int) -> GatewayRefused:
    """What a problem document says, as the error to raise."""
    words = [
        fields.get(name)
        for name in ("detail", "error_message", "error_description", "title", "error")
    ]
    text = next((printable(word) for word in words if isinstance(word, str) and word), "")
    reason = fields.get("reason") or fields.get("error")
    refusal = GatewayRefused(
        text or f"the gateway answered {status}",
        status=status,
        reason=printable(reason, 80) if isinstance(reason, str) else None,
    )
    refusal.faults = tuple(_faults(fields.get("faults")))
    return refusal


def _faults(listed: Json) -> Iterator[Fault]:
    for fault in listed if isinstance(listed, list) else []:
        if isinstance(fault, dict):
            line = fault.get("line")
            yield Fault(
                path=printable(str(fault.get("path") or "")),
                line=line if isinstance(line, int) else None,
                message=printable(str(fault.get("message") or "")),
            )


def text_field(document: Json, name: str) -> str:
    """A string of an answer. Raises ProtocolViolation."""
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str):
        raise ProtocolViolation(f"the gateway's answer has no {name}")
    return value


def number_field(document: Json, name: str) -> int:
    """A whole number of an answer. Raises ProtocolViolation."""
    value = document.get(name) if isinstance(document, dict) else None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ProtocolViolation(f"the gateway's answer has no number {name}")
    return value


def object_list(document: Json) -> list[dict[str, Json]]:
    """A list of objects. Raises ProtocolViolation."""
    if not isinstance(document, list) or not all(isinstance(item, dict) for item in document):
        raise ProtocolViolation("the gateway's answer is not a list of objects")
    return document


def segment(text: str) -> str:
    """One path segment."""
    return quote(text, safe="")

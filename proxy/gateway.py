"""Calls to the gateway, as ``docs/internals.md`` lists them; the feed is in ``feed_client``."""

import json
import ssl
from pathlib import Path
from typing import Any

import httpx

from proxy.errors import GatewayUnavailable, SettingsError
from proxy.settings import EdgeSettings

CALL_TIMEOUT = httpx.Timeout(10.0)
MAX_ANSWER_BYTES = 1024 * 1024


def read_edge_key(path: Path) -> str:
    """The secret that this edge proves itself with.

    Raises:
        SettingsError: no such file, or it is empty.
    """
    try:
        key = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("no-edge-key", f"edge_key_file: cannot be read: {path}") from error
    if not key:
        raise SettingsError("no-edge-key", f"edge_key_file: is empty: {path}")
    return key


def connect(settings: EdgeSettings, edge_key: str) -> httpx.AsyncClient:
    """An HTTP client for the gateway's internal calls; connects when first used.

    Raises:
        SettingsError: the CA file cannot be read.
    """
    headers = {"authorization": f"Bearer {edge_key}"}
    if settings.gateway_socket is not None:
        transport = httpx.AsyncHTTPTransport(uds=str(settings.gateway_socket))
        base = "http://localhost"
    else:
        transport = httpx.AsyncHTTPTransport(verify=_trust(settings.gateway_ca_file))
        base = settings.gateway
    return httpx.AsyncClient(
        transport=transport, base_url=base, headers=headers, timeout=CALL_TIMEOUT, trust_env=False
    )


def _trust(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError("bad-ca-file", f"gateway_ca_file: {error}") from error


async def post(client: httpx.AsyncClient, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call ``POST path``; the answer's JSON object, or an empty one for 204.

    Raises:
        GatewayUnavailable: no answer (``unreachable``), an error status (``refused``), or an answer
            that is not a JSON object (``malformed``).
    """
    try:
        async with client.stream("POST", path, json=body) as response:
            content = await _bounded(response)
    except httpx.HTTPError as error:
        raise GatewayUnavailable("unreachable", f"the gateway does not answer: {error}") from error
    if response.status_code == httpx.codes.NO_CONTENT:
        return {}
    if response.status_code != httpx.codes.OK:
        message = f"the gateway answers {response.status_code} to {path}"
        raise GatewayUnavailable("refused", message, response.status_code)
    try:
        answer = json.loads(content)
    except ValueError as error:
        raise GatewayUnavailable("malformed", f"no JSON from {path}") from error
    if not isinstance(answer, dict):
        raise GatewayUnavailable("malformed", f"no JSON object from {path}")
    return answer


async def _bounded(response: httpx.Response) -> bytes:
    content = b""
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise GatewayUnavailable("malformed", "the gateway's answer is too long")
    return content

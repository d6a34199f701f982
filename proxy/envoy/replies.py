"""What Envoy itself answers when no origin and no gateway could: a page, or a problem document.

Nothing here repeats what a client sent. Answers that come from the gateway pass untouched.
"""

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from proxy.envoy.filters import CROSS_SITE, MISDIRECTED

_CEL_FILTER = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer; ``details`` is Envoy's own word for why (``%RESPONSE_CODE_DETAILS%``)."""

    reason: str
    details: tuple[str, ...]
    status: HTTPStatus
    title: str
    detail: str


REPLIES = (
    Reply(
        reason="no-tunnel",
        details=("no_healthy_upstream", "cluster_not_found"),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="No tunnel is connected",
        detail="The service behind this address is not connected at the moment. Try again later.",
    ),
    Reply(
        reason="origin-unreachable",
        details=("upstream_reset_before_response_started",),
        status=HTTPStatus.BAD_GATEWAY,
        title="The service does not answer",
        detail="A tunnel is connected, but the service behind it took no connection.",
    ),
    Reply(
        reason="gateway-unreachable",
        details=("ext_authz_error",),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Sign-in is not available",
        detail="The identity gateway does not answer, so nobody new can be let in. Try again soon.",
    ),
    Reply(
        reason="misdirected-request",
        details=(f"rbac_access_denied_matched_policy[{MISDIRECTED}]",),
        status=HTTPStatus.MISDIRECTED_REQUEST,
        title="Wrong connection",
        detail="The request names another host than its TLS connection was opened for.",
    ),
    Reply(
        reason="body-too-large",
        details=("request_payload_too_large",),
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        title="Too much at once",
        detail="The request is longer than anything here can be.",
    ),
    Reply(
        reason=CROSS_SITE,
        details=(f"rbac_access_denied_matched_policy[{CROSS_SITE}]",),
        status=HTTPStatus.FORBIDDEN,
        title="Not from this page",
        detail="A page of another service or site tried to do something here in your name.",
    ),
)


GATEWAY_REPLIES = (
    Reply(
        reason="too-many-at-once",
        details=("upstream_reset_before_response_started{overflow}",),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="Too many at once",
        detail="Too many requests of this kind are on their way. Try again in some seconds.",
    ),
    Reply(
        reason="gateway-unreachable",
        details=("upstream_reset_before_response_started", "no_healthy_upstream"),
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        title="The gateway does not answer",
        detail="The identity gateway is away for the moment. Try again soon.",
    ),
    *(reply for reply in REPLIES if reply.reason == "body-too-large"),
)


def local_replies(replies: Sequence[Reply] = REPLIES) -> dict[str, Any]:
    """``local_reply_config`` of a connection manager: the sockets', if nothing else is said."""
    return {"mappers": [mapper for reply in replies for mapper in _mappers(reply)]}


def _mappers(reply: Reply) -> list[dict[str, Any]]:
    cause = _or([_details(detail) for detail in reply.details])
    page = {"filter": {"and_filter": {"filters": [cause, _accepts_html()]}}, **_page(reply)}
    problem = {"filter": cause, **_problem(reply)}
    return [mapper | {"status_code": reply.status.value} for mapper in (page, problem)]


def _or(filters: list[dict[str, Any]]) -> dict[str, Any]:
    return filters[0] if len(filters) == 1 else {"or_filter": {"filters": filters}}


def _details(prefix: str) -> dict[str, Any]:
    config = {
        "@type": _CEL_FILTER,
        "expression": f"response.code_details.startsWith('{prefix}')",
    }
    return {"extension_filter": {"name": "details", "typed_config": config}}


def _accepts_html() -> dict[str, Any]:
    return {
        "header_filter": {"header": {"name": "accept", "string_match": {"contains": "text/html"}}}
    }


def _page(reply: Reply) -> dict[str, Any]:
    title, detail = html.escape(reply.title), html.escape(reply.detail)
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" '
        f'content="light dark"><title>{title}</title><body><h1>{title}</h1><p>{detail}</p>'
    )
    return _body(body, "text/html; charset=utf-8")


def _problem(reply: Reply) -> dict[str, Any]:
    document = {
        "type": "about:blank",
        "title": reply.title,
        "status": reply.status.value,
        "detail": reply.detail,
        "reason": reply.reason,
        "error_message": reply.detail,
    }
    return _body(json.dumps(document), "application/problem+json")


def _body(content: str, content_type: str) -> dict[str, Any]:
    return {
        "body_format_override": {
            "text_format_source": {"inline_string": content.replace("%", "%%")},
            "content_type": content_type,
        },
        "headers_to_add": [
            {
                "header": {"key": "cache-control", "value": "no-store"},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
        ],
    }

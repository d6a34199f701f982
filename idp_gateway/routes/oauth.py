"""OAuth 2.0 for our command line: authorization code with PKCE on loopback, and its token endpoint.

RFC 6749 §4.1, RFC 7636 (S256 only), RFC 8252 §7.3 (loopback, any port), RFC 8707 (``resource``),
RFC 9207 (``iss``), RFC 8414 (metadata). One client exists, ``mysocketctl``, and it is public.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Self
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import JSONResponse, Response

from idp_gateway import client_access
from idp_gateway.authorization_codes import CodeTerms, is_challenge, issue_code, redeem_code
from idp_gateway.client_access import Audience, IssuedToken, ResourceRefused, find_socket
from idp_gateway.composition import Gateway
from idp_gateway.consent import ConsentFormDep, Question, ask, read_answer, socket_fact
from idp_gateway.dependencies import GatewayDep, SourceAddress
from idp_gateway.device_codes import polled_too_soon
from idp_gateway.errors import (
    AccessDenied,
    CodeInvalid,
    GatewayError,
    InvalidInput,
    NotFound,
    TokenInvalid,
)
from idp_gateway.login_pages import login_page
from idp_gateway.pages import redirect
from idp_gateway.records import DeviceState
from idp_gateway.sessions import secret_digest
from idp_gateway.targets import LoopbackAddress, ReturnTo
from idp_gateway.visits import PageRoute, VisitDep, query_of
from policy.types import IPAddress

CLIENT_ID = "mysocketctl"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
MAX_STATE_LENGTH = 512

_PURPOSE = "oauth"

pages = APIRouter(route_class=PageRoute, include_in_schema=False)
router = APIRouter(tags=["login of programs"])


class OAuthError(GatewayError):
    """An error in the words of RFC 6749 §5.2 and RFC 8628 §3.5."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message, reason=error)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRequest:
    """An authorization request whose redirect address is known to be good."""

    redirect: LoopbackAddress
    state: str
    challenge: str
    audience: Audience

    @classmethod
    def read(cls, query: dict[str, str], redirect_to: LoopbackAddress) -> Self:
        """Read the rest of the request.

        Raises:
            OAuthError: to be told to the program, at its redirect address.
        """
        if query.get("response_type") != "code":
            raise OAuthError("unsupported_response_type", "response_type must be code")
        method = query.get("code_challenge_method")
        if method != "S256" or not is_challenge(query.get("code_challenge", "")):
            raise OAuthError("invalid_request", "an S256 code_challenge is required")
        try:
            audience = Audience.parse(
                resource=query.get("resource", ""), scope=query.get("scope", "")
            )
        except ResourceRefused as error:
            raise OAuthError("invalid_target", str(error)) from error
        return cls(
            redirect=redirect_to,
            state=query.get("state", ""),
            challenge=query["code_challenge"],
            audience=audience,
        )


@pages.get("/oauth/authorize")
def show_consent(request: Request, visit: VisitDep) -> Response:
    """Ask the person; errors about the redirect address itself are shown, never redirected."""
    query = query_of(request)
    if query.get("client_id") != CLIENT_ID:
        raise InvalidInput("No such program is known here.", field="client_id")
    redirect_to = LoopbackAddress.parse(query.get("redirect_uri", ""))
    state = query.get("state", "")
    if len(state) > MAX_STATE_LENGTH or not (state.isascii() and state.isprintable()):
        raise InvalidInput("The state is too long or malformed.", field="state")
    try:
        wanted = ProgramRequest.read(query, redirect_to)
        find_socket(visit.gateway, wanted.audience)
    except OAuthError as error:
        return _back(visit.gateway, redirect_to, state, error.reason, str(error))
    except NotFound as error:
        return _back(visit.gateway, redirect_to, state, "invalid_target", str(error))
    if visit.session is None:
        return login_page(visit, ReturnTo.build("/oauth/authorize", **query), destination=CLIENT_ID)
    question = Question(
        purpose=_PURPOSE,
        action="/oauth/authorize",
        audience=wanted.audience,
        details={
            "redirect_uri": str(wanted.redirect),
            "state": wanted.state,
            "challenge": wanted.challenge,
        },
        facts=(
            *socket_fact(wanted.audience),
            ("This browser", str(visit.source_ip)),
            ("Answer goes to", f"{wanted.redirect.host}, port {wanted.redirect.port}"),
        ),
        form_targets=(form_target(wanted.redirect),),
    )
    return ask(visit, question)


@pages.post("/oauth/authorize")
def take_consent(visit: VisitDep, form: ConsentFormDep) -> Response:
    """Send the program a code, or why there is none."""
    given = read_answer(visit, _PURPOSE, form)
    redirect_to = LoopbackAddress.parse(given.details["redirect_uri"])
    state = given.details["state"]
    gateway = visit.gateway
    if not given.allowed:
        return _back(gateway, redirect_to, state, "access_denied", "you did not allow it")
    try:
        # Decided now, so that the person hears it here; and again when the token is made.
        client_access.issue(
            gateway,
            given.audience,
            session_id=given.session.session_id,
            source_ip=visit.source_ip,
        )
    except AccessDenied as error:
        return _back(gateway, redirect_to, state, "access_denied", _denial(error))
    terms = CodeTerms(
        audience=given.audience,
        session_id=given.session.session_id,
        redirect_uri=str(redirect_to),
        challenge=given.details["challenge"],
    )
    code = issue_code(gateway.store, terms, now=visit.now)
    query = {"code": code, "state": state, "iss": gateway.settings.base_url}
    return redirect(f"{redirect_to}?{urlencode(query)}", status=303)


def form_target(address: LoopbackAddress) -> str:
    """The address as a source of a content security policy, which cannot name an IPv6 address."""
    return f"http://{address.host}:{address.port}" if address.host == "127.0.0.1" else "http:"


def _back(
    gateway: Gateway, address: LoopbackAddress, state: str, error: str, description: str
) -> Response:
    query = {
        "error": error,
        "error_description": description,
        "state": state,
        "iss": gateway.settings.base_url,
    }
    return redirect(f"{address}?{urlencode(query)}", status=303)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """The parameters of a token request that we know; others are ignored (RFC 6749 §3.2)."""

    grant_type: str
    code: str = field(repr=False)
    redirect_uri: str
    code_verifier: str = field(repr=False)
    device_code: str = field(repr=False)


def read_token_request(
    grant_type: Annotated[str, Form(max_length=128)] = "",
    code: Annotated[str, Form(max_length=512)] = "",
    redirect_uri: Annotated[str, Form(max_length=512)] = "",
    code_verifier: Annotated[str, Form(max_length=512)] = "",
    device_code: Annotated[str, Form(max_length=512)] = "",
) -> TokenRequest:
    """FastAPI dependency: the form of a token request."""
    return TokenRequest(
        grant_type=grant_type,
        code=code,
        redirect_uri=redirect_uri,
        code_verifier=code_verifier,
        device_code=device_code,
    )


@router.post("/oauth/token")
def exchange(
    gateway: GatewayDep,
    source_ip: SourceAddress,
    wanted: Annotated[TokenRequest, Depends(read_token_request)],
    client_id: Annotated[str, Form(max_length=128)] = "",
) -> JSONResponse:
    """Exchange an authorization code or a device code for a token."""
    if client_id != CLIENT_ID:
        return oauth_problem("invalid_client", "no such client")
    try:
        issued = _issue(gateway, source_ip, wanted)
    except OAuthError as error:
        return oauth_problem(error.reason, str(error))
    except (CodeInvalid, TokenInvalid) as error:
        return oauth_problem("invalid_grant", str(error))
    except AccessDenied as error:
        return oauth_problem("access_denied", _denial(error), decision_id=error.decision_id)
    except NotFound as error:
        return oauth_problem("invalid_target", str(error))
    left = issued.expires_at - gateway.clock()
    return JSONResponse(
        {
            "access_token": issued.token,
            "token_type": "Bearer",
            "expires_in": max(int(left.total_seconds()), 0),
        },
        headers={"cache-control": "no-store", "pragma": "no-cache"},
    )


def _issue(gateway: Gateway, source_ip: IPAddress, wanted: TokenRequest) -> IssuedToken:
    if wanted.grant_type == "authorization_code":
        return _by_code(gateway, source_ip, wanted)
    if wanted.grant_type == DEVICE_GRANT:
        return _by_device_code(gateway, source_ip, wanted.device_code)
    raise OAuthError("unsupported_grant_type", "this grant type is not offered")


def _by_code(gateway: Gateway, source_ip: IPAddress, wanted: TokenRequest) -> IssuedToken:
    terms = redeem_code(
        gateway.store,
        wanted.code,
        redirect_uri=wanted.redirect_uri,
        verifier=wanted.code_verifier,
        now=gateway.clock(),
    )
    return client_access.issue(
        gateway, terms.audience, session_id=terms.session_id, source_ip=source_ip
    )


def _by_device_code(gateway: Gateway, source_ip: IPAddress, device_code: str) -> IssuedToken:
    now = gateway.clock()
    record = gateway.store.poll_device_code(secret_digest(device_code), now)
    if record is None:
        raise OAuthError("expired_token", "this device code is unknown, used or too old")
    if record.state is DeviceState.PENDING:
        if polled_too_soon(record, now):
            raise OAuthError("slow_down", "wait longer before asking again")
        raise OAuthError("authorization_pending", "nobody has answered yet")
    if record.state is DeviceState.DENIED or record.session_id is None:
        raise OAuthError("access_denied", "the login was not allowed")
    audience = Audience.of(str(record.payload["audience"]))
    return client_access.issue(gateway, audience, session_id=record.session_id, source_ip=source_ip)


def oauth_problem(error: str, description: str, **members: Any) -> JSONResponse:
    """An error in the form of RFC 6749 §5.2, which our own clients read as well."""
    return JSONResponse(
        {"error": error, "error_description": description, "reason": error, **members},
        status_code=401 if error == "invalid_client" else 400,
        headers={"cache-control": "no-store", "pragma": "no-cache"},
    )


def _denial(error: AccessDenied) -> str:
    return f"{error} ({error.reason}, decision {error.decision_id})"


@router.get("/.well-known/oauth-authorization-server")
def describe_server(gateway: GatewayDep) -> dict[str, Any]:
    """What a program needs to know to log in here (RFC 8414)."""
    base = gateway.settings.base_url
    return {
        "issuer": base,
        "authorization_endpoint": f"{base}/oauth/authorize",
        "token_endpoint": f"{base}/oauth/token",
        "device_authorization_endpoint": f"{base}/oauth/device_authorization",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", DEVICE_GRANT],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "scopes_supported": ["api"],
        "authorization_response_iss_parameter_supported": True,
    }

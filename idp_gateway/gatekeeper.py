"""What happens to a request for a socket that brought no valid session.

Asked by the edge for every such request, so it is short: one row for the socket, two for the
sessions, one decision. Order is the argument: the socket, then who that is, then the policy; each
step that fails ends the matter. Nobody is ever redirected who is known and denied.
"""

import base64
import binascii
import hmac
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from idp_gateway.access import Asked, Verdict, authorize, grant, identity_of, told_reason
from idp_gateway.composition import Gateway
from idp_gateway.cookies import SESSION, clear_cookie, set_cookie
from idp_gateway.edge_requests import EdgeRequest
from idp_gateway.errors import CodeInvalid, NotFound, TokenInvalid
from idp_gateway.login_pages import denied_page
from idp_gateway.pages import Message, message_page, redirect, with_cookies
from idp_gateway.problems import problem
from idp_gateway.records import LoginSessionRecord, SocketRecord, SocketSessionRecord
from idp_gateway.sessions import new_secret
from idp_gateway.socket_login import RedeemedCode, new_state, redeem_code
from idp_gateway.targets import PRODUCT_PATH, ReturnTo, path_or_root
from policy.types import Action, Grant, Reason

CALLBACK = f"{PRODUCT_PATH}callback"
LOGOUT = f"{PRODUCT_PATH}logout"


def answer(gateway: Gateway, request: EdgeRequest) -> Response:
    """Let a request through (200), send its browser to log in, or refuse it.

    Raises:
        NotFound: no HTTP socket has this name.
    """
    socket = gateway.store.find_socket_by_dns_name(request.host)
    if socket is None or socket.socket_type.has_own_port:
        raise NotFound("there is no such service", reason=Reason.SOCKET_UNKNOWN)
    if not socket.cloud_authentication_enabled:
        if request.path.startswith(PRODUCT_PATH):
            # Not the origin's, whatever the socket asks now: it may be the end of somebody's login.
            raise NotFound("there is no such page", reason="page-unknown")
        return _password_required(socket, request) or Response(status_code=200)
    if request.path == CALLBACK and request.method == "GET":
        return _finish_login(gateway, socket, request)
    if request.path == LOGOUT and request.method == "GET":
        away = f"{gateway.settings.base_url}/logout"
        return redirect(away, cookies=[clear_cookie(SESSION)])
    if request.path.startswith(PRODUCT_PATH):
        raise NotFound("there is no such page", reason="page-unknown")
    if not (request.reads_only or _same_origin(gateway, request)):
        return problem(403, "origin-refused", "only the service's own pages may do this")
    # A socket may ask for both: the shared password and a person.
    return _password_required(socket, request) or _with_identity(gateway, socket, request)


def _with_identity(gateway: Gateway, socket: SocketRecord, request: EdgeRequest) -> Response:
    found = _standing_session(gateway, socket, request)
    if found is None:
        return _login_required(gateway, request)
    socket_session, session = found
    verdict = _decide(gateway, socket, session, request)
    if not verdict.allowed:
        return _denied(gateway, verdict, request)
    leave = _grant(gateway, verdict, session)
    token = gateway.tokens.session_token(leave, socket_session_id=socket_session.socket_session_id)
    response = Response(status_code=200)
    response.raw_headers.extend(
        (name, value.encode("utf-8"))
        for name, value in (
            (b"x-auth-email", str(leave.email)),
            (b"x-auth-name", leave.identity.name),
            (b"x-auth-assertion", gateway.tokens.assertion(leave)),
            (b"x-remote-user", str(leave.email)),
        )
    )
    return with_cookies(response, [_session_cookie(gateway, token, session)])


def _standing_session(
    gateway: Gateway, socket: SocketRecord, request: EdgeRequest
) -> tuple[SocketSessionRecord, LoginSessionRecord] | None:
    """The sessions an old cookie leads to: it must be ours and for this host, not be current."""
    cookie = request.cookies.get(SESSION, "")
    if not cookie:
        return None
    try:
        claims = gateway.tokens.verify_session(cookie, dns_name=request.host, allow_expired=True)
    except TokenInvalid:
        return None
    now = gateway.clock()
    socket_session = gateway.store.find_socket_session(claims.socket_session_id)
    if socket_session is None or socket_session.socket_id != socket.socket_id:
        return None
    session = gateway.store.find_login_session(socket_session.session_id)
    if session is None or not session.stands(now) or now >= socket_session.expires_at:
        return None
    return socket_session, session


def _login_required(gateway: Gateway, request: EdgeRequest) -> Response:
    if not request.navigation:
        origin = _origin(gateway, request)
        return problem(401, "login-required", f"open {origin}/ in a browser and log in first")
    state, cookies = new_state(gateway.signer, request.host, request.cookies, now=gateway.clock())
    query = urlencode({"host": request.host, "path": path_or_root(request.target), "state": state})
    return redirect(f"{gateway.settings.base_url}/login/socket?{query}", cookies=cookies)


def _denied(gateway: Gateway, verdict: Verdict, request: EdgeRequest) -> Response:
    if not request.navigation:
        return problem(
            403,
            str(told_reason(verdict.decision.reasons[0])),
            "you are known here, but the rules of this service do not admit you",
            decision_id=verdict.decision_id,
        )
    return denied_page(gateway, verdict, return_to=ReturnTo(), assets=gateway.settings.base_url)


def _finish_login(gateway: Gateway, socket: SocketRecord, request: EdgeRequest) -> Response:
    """``/.mysocket/callback``: a one-time code becomes a session cookie on the socket's host."""
    try:
        redeemed = _redeem(gateway, request, socket)
    except CodeInvalid as error:
        message = Message(
            title="Please log in again",
            text=str(error),
            badge="Not logged in",
            tone="bad",
            reason=error.reason,
            link=(f"{_origin(gateway, request)}/", "Start again"),
        )
        return message_page(message, status=400, assets=gateway.settings.base_url)
    session = gateway.store.find_login_session(redeemed.session_id)
    if session is None or not session.stands(gateway.clock()):
        return _login_required(gateway, request)
    verdict = _decide(gateway, socket, session, request)
    if not verdict.allowed:
        return _denied(gateway, verdict, request)
    leave = _grant(gateway, verdict, session)
    socket_session = SocketSessionRecord(
        socket_session_id=new_secret(),
        socket_id=socket.socket_id,
        session_id=session.session_id,
        created_at=gateway.clock(),
        expires_at=session.expires_at,
    )
    gateway.store.add_socket_session(socket_session)
    token = gateway.tokens.session_token(leave, socket_session_id=socket_session.socket_session_id)
    return redirect(
        f"{_origin(gateway, request)}{redeemed.target.path}",
        cookies=[
            _session_cookie(gateway, token, session),
            clear_cookie(redeemed.cookie_name),
        ],
    )


def _redeem(gateway: Gateway, request: EdgeRequest, socket: SocketRecord) -> RedeemedCode:
    pairs = parse_qsl(request.query) if len(request.query) < 1024 else []
    values = dict(pairs)
    if len(values) != len(pairs):
        raise CodeInvalid("This login link is malformed.")
    redeemed = redeem_code(
        gateway.store,
        gateway.signer,
        host=request.host,
        code=values.get("code", ""),
        state=values.get("state", ""),
        cookies=request.cookies,
        now=gateway.clock(),
    )
    if (redeemed.socket_id, redeemed.epoch) != (socket.socket_id, socket.epoch):
        raise CodeInvalid("This login was for another service, or its rules have changed.")
    return redeemed


def _decide(
    gateway: Gateway, socket: SocketRecord, session: LoginSessionRecord, request: EdgeRequest
) -> Verdict:
    return authorize(
        gateway.store,
        gateway.clock,
        gateway.rules.guarded(socket),
        Asked(
            identity=identity_of(session),
            action=Action.HTTP,
            origin=gateway.origins.of(request.source_ip),
        ),
        denials=gateway.denials,
    )


def _grant(gateway: Gateway, verdict: Verdict, session: LoginSessionRecord) -> Grant:
    settings = gateway.settings
    return grant(
        verdict,
        session=session,
        life=timedelta(minutes=settings.grant_minutes),
        leeway=timedelta(minutes=settings.clock_drift_minutes),
    )


def _session_cookie(gateway: Gateway, token: str, session: LoginSessionRecord) -> str:
    """The cookie outlives the token in it: an expired one is what silent renewal starts from."""
    return set_cookie(SESSION, token, max_age=session.expires_at - gateway.clock())


def _same_origin(gateway: Gateway, request: EdgeRequest) -> bool:
    """Whether a request comes from the service's own pages or from no browser (RFC 6455 §10.2).

    Another socket is the same *site*, and gets ``SameSite=Lax`` cookies sent along.
    """
    own_site = request.fetch_site in {None, "same-origin"}
    return own_site and request.origin in {None, _origin(gateway, request)}


def _origin(gateway: Gateway, request: EdgeRequest) -> str:
    return f"https://{request.host}{gateway.settings.port_suffix}"


def _password_required(socket: SocketRecord, request: EdgeRequest) -> Response | None:
    """The refusal, if the socket's owner set a user name and password and they are missing."""
    if not socket.protected or _has_password(socket, request.authorization):
        return None
    return problem(
        401,
        "password-required",
        "this service asks for a user name and a password",
        headers={"www-authenticate": f'Basic realm="{socket.dns_name}", charset="UTF-8"'},
    )


def _has_password(socket: SocketRecord, authorization: str) -> bool:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic" or len(credentials) > 4096:
        return False
    try:
        given = base64.b64decode(credentials, validate=True)
    except (binascii.Error, ValueError):
        return False
    expected = f"{socket.protected_username}:{socket.protected_password}".encode()
    return hmac.compare_digest(given, expected)

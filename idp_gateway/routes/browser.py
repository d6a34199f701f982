"""Signing in with a browser: at a provider, with a local account, and on the way to a socket."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from idp_gateway.access import Asked, authorize
from idp_gateway.accounts import authenticate
from idp_gateway.attempts import finish_attempt, start_attempt
from idp_gateway.capacity import in_thread
from idp_gateway.cookies import clear_cookie
from idp_gateway.errors import GatewayError, LoginFailed, NotFound, ProviderFailed
from idp_gateway.login_pages import denied_page, login_page, signed_in
from idp_gateway.pages import Message, message_page, redirect
from idp_gateway.problems import status_of
from idp_gateway.providers.base import IdentityProvider
from idp_gateway.providers.local import local_identity
from idp_gateway.records import LoginSessionRecord, SocketRecord
from idp_gateway.socket_login import is_secret, issue_code
from idp_gateway.targets import ReturnTo, SocketTarget, TargetRefused
from idp_gateway.visits import PageRoute, Visit, VisitDep, query_of
from policy.addresses import EmailAddress
from policy.errors import AddressError
from policy.types import Action

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/login")
def show_login(request: Request, visit: VisitDep) -> Response:
    """The login page; ``next`` is a signed return address."""
    return_to = visit.signer.read_return(query_of(request).get("next", ""), now=visit.now)
    return _login_page(visit, return_to)


@router.post("/login/local")
async def log_in_locally(
    visit: VisitDep,
    csrf: Annotated[str, Form(max_length=4096)] = "",
    email: Annotated[str, Form(max_length=254)] = "",
    password: Annotated[str, Form(max_length=1024)] = "",
    next: Annotated[str, Form(max_length=16384)] = "",  # noqa: A002 - the field's name
) -> Response:
    """Check e-mail and password of a local account."""
    visit.check_form("login", csrf)
    log_in = partial(_log_in, visit, email, password, next)
    return await in_thread(visit.gateway.capacity.passwords, log_in)


def _log_in(visit: Visit, email: str, password: str, next: str) -> Response:  # noqa: A002
    return_to = visit.signer.read_return(next, now=visit.now)
    try:
        account = authenticate(
            visit.gateway.store,
            email=_canonical(email),
            password=password,
            source_ip=visit.source_ip,
            now=visit.now,
        )
    except GatewayError as error:
        return _login_page(
            visit, return_to, message=str(error), email=email, status=status_of(error)
        )
    issuer = visit.gateway.settings.base_url
    identity = local_identity(account, issuer=issuer, now=visit.now)
    return signed_in(visit, identity, return_to, account=account)


@router.get("/login/socket")
def log_in_to_socket(request: Request, visit: VisitDep) -> Response:
    """Send a browser back to a socket with a one-time code, once it is known who that is."""
    query = query_of(request)
    target = SocketTarget.parse(query.get("host", ""), query.get("path", ""))
    state = query.get("state", "")
    if not is_secret(state):
        raise TargetRefused("The state of this login is malformed.", field="state")
    socket = _identity_socket(visit, target.host)
    return_to = ReturnTo.build("/login/socket", host=target.host, path=target.path, state=state)
    if visit.session is None:
        return _login_page(visit, return_to)
    return _send_to_socket(visit, visit.session, socket, target, state)


def _send_to_socket(
    visit: Visit,
    session: LoginSessionRecord,
    socket: SocketRecord,
    target: SocketTarget,
    state: str,
) -> Response:
    gateway = visit.gateway
    identity = visit.identity
    assert identity is not None  # noqa: S101 - there is a session
    verdict = authorize(
        gateway.store,
        gateway.clock,
        gateway.rules.guarded(socket),
        Asked(identity=identity, action=Action.HTTP, origin=gateway.origins.of(visit.source_ip)),
        denials=gateway.denials,
    )
    if not verdict.allowed:
        again = ReturnTo.build("/login/socket", host=target.host, path=target.path, state=state)
        return denied_page(gateway, verdict, return_to=again)
    code = issue_code(
        gateway.store,
        socket_id=socket.socket_id,
        epoch=socket.epoch,
        session_id=session.session_id,
        target=target,
        state=state,
        now=visit.now,
    )
    origin = f"https://{target.host}{gateway.settings.port_suffix}"
    return redirect(f"{origin}/.mysocket/callback?code={code}&state={state}")


@router.get("/login/{provider}/start")
def start_at_provider(request: Request, visit: VisitDep, provider: str) -> Response:
    """Send the browser to a provider."""
    chosen = _provider(visit, provider)
    started = start_attempt(
        visit.gateway.store,
        visit.signer,
        provider=chosen.name,
        redirect_uri=callback_address(visit, chosen),
        return_to=visit.signer.read_return(query_of(request).get("next", ""), now=visit.now),
        cookies=visit.cookies,
        now=visit.now,
    )
    return redirect(chosen.authorization_url(started.attempt), cookies=started.cookies)


@router.get("/login/{provider}/callback")
def return_from_provider(request: Request, visit: VisitDep, provider: str) -> Response:
    """Check what a provider says, once, in the browser that asked."""
    answer = query_of(request, limit=16384)
    chosen = _provider(visit, provider)
    finished = finish_attempt(
        visit.gateway.store,
        visit.signer,
        provider=chosen.name,
        redirect_uri=callback_address(visit, chosen),
        state=answer.get("state", ""),
        cookies=visit.cookies,
        now=visit.now,
    )
    try:
        identity = chosen.identify(finished.attempt, answer, visit.now)
    except ProviderFailed as error:
        return _provider_failed(visit, error, finished.return_to, finished.cookie_name)
    return signed_in(visit, identity, finished.return_to, used=[finished.cookie_name])


def callback_address(visit: Visit, provider: IdentityProvider) -> str:
    """The provider's own callback on the gateway's canonical name; never made from ``Host``."""
    return f"{visit.gateway.settings.base_url}/login/{provider.name}/callback"


def _provider_failed(
    visit: Visit, error: ProviderFailed, return_to: ReturnTo, cookie_name: str
) -> Response:
    signed = visit.signer.sign_return(return_to, now=visit.now)
    message = Message(
        title="Sign-in failed",
        text=str(error),
        reason=error.reason,
        tone="bad",
        badge="Not signed in",
        link=(f"/login?next={signed}" if signed else "/login", "Try again"),
    )
    return message_page(message, status=status_of(error), cookies=[clear_cookie(cookie_name)])


def _login_page(
    visit: Visit, return_to: ReturnTo, *, message: str = "", email: str = "", status: int = 200
) -> Response:
    """The login page with what the return address tells about the destination."""
    host = return_to.query().get("host", "") if return_to.path.startswith("/login/socket?") else ""
    origin = f"https://{host}{visit.gateway.settings.port_suffix}"
    return login_page(
        visit,
        return_to,
        destination=host or return_to.destination,
        message=message,
        email=email,
        status=status,
        form_targets=[origin] if host else [],
    )


def _provider(visit: Visit, name: str) -> IdentityProvider:
    provider = visit.gateway.providers.get(name)
    if provider is None:
        raise NotFound("There is no such way to sign in.")
    return provider


def _identity_socket(visit: Visit, host: str) -> SocketRecord:
    """The socket of that name, if a login opens it; the same answer for all others."""
    socket = visit.gateway.store.find_socket_by_dns_name(host)
    if socket is None or socket.socket_type.has_own_port or not socket.cloud_authentication_enabled:
        raise NotFound("There is no such service.")
    return socket


def _canonical(email: str) -> str:
    """The spelling accounts are kept under.

    Raises:
        LoginFailed: not an e-mail address, so nobody's; says no more than for a wrong password.
    """
    try:
        return str(EmailAddress.parse(email.strip()))
    except AddressError as error:
        raise LoginFailed("e-mail address and password do not belong together") from error

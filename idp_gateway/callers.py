"""Who calls the API: the account behind an API token, from the header ``x-access-token``."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from idp_gateway.bounds import MAX_BODY_BYTES
from idp_gateway.capacity import Place
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep, get_gateway
from idp_gateway.errors import NotAuthenticated, TokenInvalid, TooManyAttempts
from idp_gateway.records import AccountRecord, LoginSessionRecord
from idp_gateway.strict_json import check_quickly_read

_header = APIKeyHeader(
    name="x-access-token",
    scheme_name="x-access-token",
    description="The token of `POST /login` (or, for certificates, of the browser login).",
    auto_error=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """An account that has logged in, and the login session its token rests on."""

    account: AccountRecord
    session: LoginSessionRecord


async def presented_token(token: Annotated[str | None, Depends(_header)]) -> str:
    """The request's token, not looked at yet; asynchronous, so that it needs no thread.

    Raises:
        NotAuthenticated: there is none.
    """
    if not token:
        raise NotAuthenticated("log in first: the header x-access-token is missing")
    return token


PresentedToken = Annotated[str, Depends(presented_token)]


def standing_session(gateway: Gateway, session_id: str) -> LoginSessionRecord:
    """The login session a token rests on.

    Raises:
        TokenInvalid: it was revoked or is over.
    """
    session = gateway.store.find_login_session(session_id)
    if session is None or not session.stands(gateway.clock()):
        raise TokenInvalid("this login has ended; log in again", reason="login-ended")
    return session


def caller(request: Request, gateway: GatewayDep, token: PresentedToken) -> Caller:
    """The caller of an API request; ``request.state.account_id`` says who it was.

    Raises:
        TokenInvalid: the token is no valid API token, its login has ended, or the account is gone.
    """
    claims = gateway.tokens.verify_api_token(token)
    session = standing_session(gateway, claims.session_id)
    account = gateway.store.find_account(claims.account_id)
    if account is None:
        raise TokenInvalid("this account is gone")
    request.state.account_id = account.account_id
    return Caller(account=account, session=session)


CallerDep = Annotated[Caller, Depends(caller)]


RETRY_SECONDS = 5


class CallerFirst(APIRoute):
    """Looks at the token before it reads a body; for routes that take long ones. Without this a
    body is read whole for anybody, and only then refused. Of long ones an account sends one at a
    time.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        if self.body_field is None:
            return answer

        async def answer_callers(request: Request) -> Response:
            gateway = await get_gateway(request)
            token = await presented_token(await _header(request))
            found = await run_in_threadpool(caller, request, gateway, token)
            if not _may_be_long(request):
                return await answer(request)
            with _turn_to_send(gateway, found):
                check_quickly_read(await request.body())
                return await answer(request)  # the body was kept

        return answer_callers


def _may_be_long(request: Request) -> bool:
    announced = request.headers.get("content-length")
    return announced is None or int(announced) > MAX_BODY_BYTES


def _turn_to_send(gateway: Gateway, caller: Caller) -> Place:
    place = gateway.long_bodies.take(caller.account.account_id)
    if place is None:
        raise TooManyAttempts(
            "you send something long already, or many others do; try again soon",
            retry_after=RETRY_SECONDS,
        )
    return place

"""``/login``: an API token for e-mail address and password, and its renewal."""

from datetime import timedelta

from fastapi import APIRouter, Request

from idp_gateway import accounts, sessions
from idp_gateway.access import identity_of
from idp_gateway.callers import CallerDep
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep, source_address
from idp_gateway.errors import TokenInvalid
from idp_gateway.providers.local import local_identity
from idp_gateway.records import AccountRecord
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.accounts import LoginForm, LoginReply
from idp_gateway.tokens import API_TOKEN_LIFE
from policy.types import Identity

MAX_RENEWAL = timedelta(days=30)
"""How long after the password was typed a token can still be renewed."""

router = APIRouter(tags=["login"])


@router.post("/login", responses=problems(400, 401, 429))
def login(gateway: GatewayDep, request: Request, form: LoginForm) -> LoginReply:
    """Exchange e-mail address and password for an API token."""
    now = gateway.clock()
    account = accounts.authenticate(
        gateway.store,
        email=form.email,
        password=form.password,
        source_ip=source_address(request, gateway),
        now=now,
    )
    identity = local_identity(account, issuer=gateway.settings.base_url, now=now)
    return _begin(gateway, account, identity, API_TOKEN_LIFE)


@router.post("/login/refresh", responses=problems(401))
def refresh(gateway: GatewayDep, caller: CallerDep) -> LoginReply:
    """Exchange a valid API token for a new one, up to 30 days after the password was typed."""
    left = caller.session.authenticated_at + MAX_RENEWAL - gateway.clock()
    if left <= timedelta(0):
        raise TokenInvalid("this login is too old to be renewed", reason="login-ended")
    identity = identity_of(caller.session)
    return _begin(gateway, caller.account, identity, min(left, API_TOKEN_LIFE))


def _begin(
    gateway: Gateway, account: AccountRecord, identity: Identity, life: timedelta
) -> LoginReply:
    _, session = sessions.begin_session(gateway.store, identity, life=life, now=gateway.clock())
    token = gateway.tokens.api_token(
        account_id=account.account_id,
        email=account.email,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    return LoginReply(token=token)

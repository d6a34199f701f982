"""``/login``: an API token for e-mail address and password, and its renewal."""

from datetime import timedelta
from functools import partial

from fastapi import APIRouter

from idp_gateway import accounts, sessions
from idp_gateway.callers import CallerDep
from idp_gateway.capacity import in_thread
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep, SourceAddress
from idp_gateway.errors import TokenInvalid
from idp_gateway.providers.local import local_identity
from idp_gateway.records import AccountRecord, LoginSessionRecord
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.accounts import LoginForm, LoginReply
from policy.types import IPAddress

router = APIRouter(tags=["login"])


@router.post("/login", responses=problems(400, 401, 429))
async def login(gateway: GatewayDep, source_ip: SourceAddress, form: LoginForm) -> LoginReply:
    """Exchange e-mail address and password for an API token."""
    log_in = partial(_log_in, gateway, source_ip, form)
    return await in_thread(gateway.capacity.passwords, log_in)


def _log_in(gateway: Gateway, source_ip: IPAddress, form: LoginForm) -> LoginReply:
    now = gateway.clock()
    account = accounts.authenticate(
        gateway.store,
        email=form.email,
        password=form.password,
        source_ip=source_ip,
        now=now,
    )
    identity = local_identity(account, issuer=gateway.settings.base_url, now=now)
    life = sessions.login_life(gateway.settings)
    _, session = sessions.begin_session(
        gateway.store, identity, life=life, now=now, account=account
    )
    return _reply(gateway, account, session)


@router.post("/login/refresh", responses=problems(401))
def refresh(gateway: GatewayDep, caller: CallerDep) -> LoginReply:
    """Exchange a valid API token for a new one.

    Possible for 30 days after the login (or what this gateway's operator chose). Ending the login,
    as logging out in the browser it began in does, ends every token renewed from it.
    """
    now, settings = gateway.clock(), gateway.settings
    last = caller.session.authenticated_at + timedelta(days=settings.login_renewal_days)
    if last <= now:
        raise TokenInvalid("this login is too old to be renewed", reason="login-ended")
    until = min(last, now + sessions.login_life(settings))
    session = sessions.renew_session(gateway.store, caller.session, until=until)
    return _reply(gateway, caller.account, session)


def _reply(gateway: Gateway, account: AccountRecord, session: LoginSessionRecord) -> LoginReply:
    token = gateway.tokens.api_token(
        account_id=account.account_id,
        email=account.email,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    return LoginReply(token=token)

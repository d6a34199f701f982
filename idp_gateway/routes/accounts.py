"""``/user``: create an account, see one's own."""

from fastapi import APIRouter, Request

from idp_gateway import accounts
from idp_gateway.callers import CallerDep
from idp_gateway.dependencies import GatewayDep, source_address
from idp_gateway.errors import NotFound, SignupClosed
from idp_gateway.replies import account_reply
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.accounts import AccountForm, AccountReply

router = APIRouter(tags=["accounts"])


@router.post("/user", responses=problems(400, 403, 409, 429))
def create_account(gateway: GatewayDep, request: Request, form: AccountForm) -> AccountReply:
    """Create an account.

    It can own sockets at once. Its e-mail address counts in no socket's rules until an operator of
    this gateway vouches for it.
    """
    if not gateway.settings.signup_open:
        raise SignupClosed("this gateway opens no accounts; ask its operator for one")
    now = gateway.clock()
    accounts.regulate_signups(gateway.store, source_address(request, gateway), now)
    account = accounts.register(
        gateway.store,
        name=form.name,
        email=form.email,
        password=form.password,
        ssh_key=form.sshkey or "",
        now=now,
    )
    gateway.feed.settle()
    return account_reply(account)


@router.get("/user/{user_id}", responses=problems(401, 404))
def show_account(caller: CallerDep, user_id: str) -> AccountReply:
    """One's own account; anybody else's is as unknown as one that does not exist."""
    if user_id != caller.account.account_id:
        raise NotFound("no such account", reason="account-unknown")
    return account_reply(caller.account)

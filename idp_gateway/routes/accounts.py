"""``/user``: create an account, see one's own."""

from functools import partial

from fastapi import APIRouter

from idp_gateway import accounts
from idp_gateway.callers import CallerDep
from idp_gateway.capacity import in_thread
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep, SourceAddress
from idp_gateway.errors import NotFound, SignupClosed
from idp_gateway.in_force import ChangeRoute
from idp_gateway.records import AccountRecord
from idp_gateway.replies import account_reply
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.accounts import AccountForm, AccountReply
from policy.types import IPAddress

router = APIRouter(route_class=ChangeRoute, tags=["accounts"])


@router.post("/user", responses=problems(400, 403, 409, 429))
async def create_account(
    gateway: GatewayDep, source_ip: SourceAddress, form: AccountForm
) -> AccountReply:
    """Create an account.

    It can own sockets at once. Its e-mail address counts in no socket's rules until an operator of
    this gateway vouches for it.
    """
    if not gateway.settings.signup_open:
        raise SignupClosed("this gateway opens no accounts; ask its operator for one")
    create = partial(_create, gateway, source_ip, form)
    return account_reply(await in_thread(gateway.capacity.passwords, create))


def _create(gateway: Gateway, source_ip: IPAddress, form: AccountForm) -> AccountRecord:
    now = gateway.clock()
    accounts.regulate_signups(gateway.store, source_ip, now)
    return accounts.register(
        gateway.store,
        name=form.name,
        email=form.email,
        password=form.password,
        ssh_key=form.sshkey or "",
        now=now,
    )


@router.get("/user/{user_id}", responses=problems(401, 404))
def show_account(caller: CallerDep, user_id: str) -> AccountReply:
    """One's own account; anybody else's is as unknown as one that does not exist."""
    if user_id != caller.account.account_id:
        raise NotFound("no such account", reason="account-unknown")
    return account_reply(caller.account)

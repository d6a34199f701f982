"""``/guests``: one address, one socket, one window, by a link that lets nobody in by itself."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from idp_gateway.answering import guest_reply
from idp_gateway.callers import CallerDep
from idp_gateway.dependencies import GatewayDep
from idp_gateway.in_force import OthersChangeRoute
from idp_gateway.inviting import Invitation, invite
from idp_gateway.routes.access_requests import Page, PageSize, person_behind
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.access_requests import GuestForm, GuestReply
from policy.addresses import EmailAddress

router = APIRouter(prefix="/guests", route_class=OthersChangeRoute, tags=["access requests"])


@router.post("", responses=problems(400, 401, 403, 404))
def create_guest(gateway: GatewayDep, caller: CallerDep, form: GuestForm) -> GuestReply:
    """Invite one address to one of your sockets for one window.

    Whoever opens the link has to sign in with this address, verified by their provider; the first
    who does is the guest, and nobody else after them.
    """
    invitation = Invitation(
        socket_id=form.socket_id,
        email=EmailAddress.parse(form.email),
        starts_at=form.starts_at,
        ends_at=form.ends_at,
        note=form.note,
    )
    guest, link = invite(gateway, caller.account, person_behind(caller), invitation)
    return guest_reply(gateway, guest, link=link)


@router.get("", responses=problems(400, 401, 404))
def list_guests(
    gateway: GatewayDep,
    caller: CallerDep,
    socket_id: Annotated[str, Query(max_length=64, description="One of your own sockets.")],
    page: Page = 1,
    page_size: PageSize = 100,
) -> list[GuestReply]:
    """The guests of one of your sockets, newest first."""
    found = gateway.store.guests_of(
        caller.account.account_id, socket_id, offset=(page - 1) * page_size, limit=page_size
    )
    return [guest_reply(gateway, guest) for guest in found]


@router.delete("/{guest_id}", status_code=204, responses=problems(401, 404))
def revoke_guest(gateway: GatewayDep, caller: CallerDep, guest_id: str) -> Response:
    """Let a guest in no longer; grants end at once, and the link is worth nothing."""
    gateway.store.revoke_guest(
        caller.account.account_id, guest_id, person_behind(caller), gateway.clock()
    )
    return Response(status_code=204)

"""``/policies`` and ``/policy``: who may come in, as documents with a history.

Paths and bodies that the clients of 2022 use are theirs, singular and plural alike.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from idp_gateway import policy_changes
from idp_gateway.callers import Caller, CallerDep, CallerFirst
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep
from idp_gateway.errors import NotFound
from idp_gateway.in_force import ChangeRoute
from idp_gateway.policy_records import PolicyRecord
from idp_gateway.policy_replies import policy_replies, policy_reply, version_reply
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.policies import (
    AttachForm,
    NewPolicyForm,
    PolicyChangeForm,
    PolicyReply,
    PolicyVersionReply,
    RollbackForm,
)
from idp_gateway.schemas.text import LongText
from idp_gateway.store.policies import Attaching
from idp_gateway.strict_json import EachKeyOnce
from policy.schema import json_schema


class _PolicyRoute(CallerFirst, EachKeyOnce, ChangeRoute):
    """Documents come as JSON here, which may be long."""


router = APIRouter(route_class=_PolicyRoute, tags=["policies"])

Page = Annotated[int, Query(ge=1, le=1_000_000, description="Counts from 1.")]
PageSize = Annotated[int | None, Query(ge=1, le=500)]
SocketId = Annotated[str | None, Query(max_length=64)]


@router.get("/policies", responses=problems(400, 401, 404))
def list_policies(
    gateway: GatewayDep,
    caller: CallerDep,
    page: Page = 1,
    page_size: PageSize = None,
    per_page: PageSize = None,
    socket_id: SocketId = None,
) -> list[PolicyReply]:
    """Policies of one's account by name; with `socket_id` those that bear on that socket."""
    account_id = caller.account.account_id
    limit = page_size or per_page
    offset = 0 if limit is None else (page - 1) * limit
    if socket_id:
        found = _bearing_on(gateway, caller, socket_id)
        found = found[offset : None if limit is None else offset + limit]
    elif limit is None and page > 1:
        found = ()
    else:
        found = gateway.store.policies_page(account_id, offset=offset, limit=limit)
    return policy_replies(gateway, account_id, found)


@router.get("/policies&socket_id={socket_id}", include_in_schema=False)
def list_policies_of_socket(
    gateway: GatewayDep, caller: CallerDep, socket_id: str
) -> list[PolicyReply]:
    """As above: the address a client of 2022 makes by mistake when it has no page to ask for."""
    found = _bearing_on(gateway, caller, socket_id)
    return policy_replies(gateway, caller.account.account_id, found)


@router.get("/policies/find", responses=problems(400, 401, 404))
def find_policy(
    gateway: GatewayDep, caller: CallerDep, name: Annotated[str, Query(max_length=255)]
) -> PolicyReply:
    """The policy of this name."""
    found = gateway.store.find_policy(caller.account.account_id, name)
    if found is None:
        raise NotFound("no such policy", reason="policy-unknown")
    return policy_reply(gateway, found)


@router.get("/policies/schema")
def show_schema() -> dict[str, Any]:
    """The JSON Schema of policy documents."""
    return dict(json_schema())


@router.post("/policies", responses=problems(400, 401, 403, 409, 429))
def create_policy(gateway: GatewayDep, caller: CallerDep, form: NewPolicyForm) -> PolicyReply:
    """Create a policy; it bears on nothing before it is attached, unless it is `org_wide`."""
    return policy_reply(gateway, policy_changes.create_policy(gateway, caller, form))


@router.get("/policy/{policy_id}", responses=problems(401, 404))
def show_policy(gateway: GatewayDep, caller: CallerDep, policy_id: str) -> PolicyReply:
    """One policy."""
    return policy_reply(gateway, gateway.store.get_policy(caller.account.account_id, policy_id))


@router.put("/policy/{policy_id}", responses=problems(400, 401, 404, 409, 429))
def change_policy(
    gateway: GatewayDep, caller: CallerDep, policy_id: str, form: PolicyChangeForm
) -> PolicyReply:
    """Change a policy; every change makes a new version. `null` is "as it is"."""
    changed = policy_changes.change_policy(gateway, caller, policy_id, form)
    return policy_reply(gateway, changed)


@router.delete("/policy/{policy_id}", status_code=204, responses=problems(401, 404, 429))
def delete_policy(
    gateway: GatewayDep,
    caller: CallerDep,
    policy_id: str,
    why: Annotated[LongText | None, Query()] = None,
) -> Response:
    """Delete a policy everywhere; its history stays."""
    author = policy_changes.author_of(gateway, caller, why)
    gateway.store.delete_policy(caller.account.account_id, policy_id, author)
    return Response(status_code=204)


@router.get("/policy/{policy_id}/history", responses=problems(400, 401, 404))
def list_history(
    gateway: GatewayDep,
    caller: CallerDep,
    policy_id: str,
    page: Page = 1,
    page_size: Annotated[int, Query(ge=1, le=500)] = 100,
) -> list[PolicyVersionReply]:
    """What happened to a policy, newest first; also to a deleted one."""
    account_id = caller.account.account_id
    offset = (page - 1) * page_size
    found = gateway.store.policy_history(account_id, policy_id, offset=offset, limit=page_size)
    if not found and page == 1:
        raise NotFound("no such policy", reason="policy-unknown")
    return [version_reply(entry) for entry in found]


@router.get("/policy/{policy_id}/version/{version}", responses=problems(400, 401, 404))
def show_version(
    gateway: GatewayDep, caller: CallerDep, policy_id: str, version: int
) -> PolicyVersionReply:
    """A policy as one version was."""
    if not 0 < version < 2**31:
        raise NotFound("no such version of a policy", reason="policy-version-unknown")
    account_id = caller.account.account_id
    return version_reply(gateway.store.get_policy_version(account_id, policy_id, version))


@router.post("/policy/{policy_id}/rollback", responses=problems(400, 401, 404, 409, 429))
def roll_back(
    gateway: GatewayDep, caller: CallerDep, policy_id: str, form: RollbackForm
) -> PolicyReply:
    """Put the document of an old version in force again, as a new version."""
    return policy_reply(gateway, policy_changes.roll_back(gateway, caller, policy_id, form))


@router.put("/policy/{policy_id}/socket", responses=problems(400, 401, 403, 404, 429))
def attach_to_sockets(
    gateway: GatewayDep, caller: CallerDep, policy_id: str, form: AttachForm
) -> list[str]:
    """Attach a policy to sockets or detach it; answers the ids of all its sockets."""
    wanted = {one.id: one.action == "add" for one in form.actions}
    _attach(gateway, caller, {policy_id: wanted}, form.why)
    attached = gateway.store.attached_sockets(caller.account.account_id, [policy_id])
    return list(attached.get(policy_id, ()))


@router.put("/socket/{socket_id}/policy", responses=problems(400, 401, 403, 404, 429))
def attach_policies(
    gateway: GatewayDep, caller: CallerDep, socket_id: str, form: AttachForm
) -> list[str]:
    """Attach policies to a socket or detach them; answers the ids of all its policies."""
    socket = gateway.store.get_socket(caller.account.account_id, socket_id)
    wanted = {one.id: {socket_id: one.action == "add"} for one in form.actions}
    _attach(gateway, caller, wanted, form.why)
    rules = gateway.store.rules_of([socket])[socket.account_id]
    return sorted(rules.attached.get(socket_id, ()))


def _attach(gateway: Gateway, caller: Caller, wanted: Attaching, why: str | None) -> None:
    gateway.store.attach(
        caller.account.account_id,
        wanted,
        policy_changes.author_of(gateway, caller, why),
        limit=gateway.settings.policies_per_socket,
    )


def _bearing_on(gateway: Gateway, caller: Caller, socket_id: str) -> tuple[PolicyRecord, ...]:
    socket = gateway.store.get_socket(caller.account.account_id, socket_id)
    found = gateway.store.rules_of([socket])[socket.account_id].of_socket(socket_id)
    return tuple(sorted(found, key=lambda policy: policy.name))

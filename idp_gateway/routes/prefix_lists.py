"""``/prefix-lists``: addresses that policies name together."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Response

from idp_gateway.callers import CallerDep
from idp_gateway.dependencies import GatewayDep
from idp_gateway.errors import InvalidInput, QuotaExceeded
from idp_gateway.in_force import ChangeRoute
from idp_gateway.policy_records import PrefixListRecord
from idp_gateway.policy_replies import list_reply, whole_list_reply
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.policies import (
    ListName,
    PrefixListForm,
    PrefixListReply,
    WholePrefixListReply,
)
from policy.errors import PolicyError
from policy.prefix_files import PrefixList, read_prefixes

router = APIRouter(prefix="/prefix-lists", route_class=ChangeRoute, tags=["policies"])

NamedList = Annotated[ListName, Path()]


@router.get("", responses=problems(401))
def list_prefix_lists(gateway: GatewayDep, caller: CallerDep) -> list[PrefixListReply]:
    """The lists of one's account by name, without their addresses."""
    return [list_reply(one) for one in gateway.store.prefix_lists_of(caller.account.account_id)]


@router.get("/{name}", responses=problems(400, 401, 404))
def show_prefix_list(
    gateway: GatewayDep, caller: CallerDep, name: NamedList
) -> WholePrefixListReply:
    """One list."""
    return whole_list_reply(gateway.store.get_prefix_list(caller.account.account_id, name))


@router.put("/{name}", responses=problems(400, 401, 403, 409))
def put_prefix_list(
    gateway: GatewayDep, caller: CallerDep, name: NamedList, form: PrefixListForm
) -> WholePrefixListReply:
    """Make or replace a list, from a published file or from addresses.

    The sockets whose policies name it end their grants, if it holds other addresses than before.
    """
    read = _read(form)
    most = gateway.settings.prefixes_per_list
    if len(read.networks) > most:
        raise QuotaExceeded(f"no more than {most} prefixes are allowed in a list")
    record = PrefixListRecord(
        account_id=caller.account.account_id,
        name=name,
        prefixes=tuple(map(str, read.networks)),
        summary=_summary(read),
        source="list" if form.text is None else "file",
        updated_at=gateway.clock(),
        changed_by=caller.account.email,
        why=form.why or "",
    )
    kept = gateway.store.put_prefix_list(
        record, based_on=form.version, limit=gateway.settings.prefix_lists_per_account
    )
    return whole_list_reply(kept)


@router.delete("/{name}", status_code=204, responses=problems(400, 401, 404, 409))
def delete_prefix_list(gateway: GatewayDep, caller: CallerDep, name: NamedList) -> Response:
    """Delete a list that no policy names."""
    gateway.store.delete_prefix_list(caller.account.account_id, name)
    return Response(status_code=204)


def _read(form: PrefixListForm) -> PrefixList:
    text = "\n".join(form.prefixes or ()) if form.text is None else form.text
    try:
        return read_prefixes(text, region=form.region or "", service=form.service or "")
    except PolicyError as error:
        raise InvalidInput(
            str(error), field="text" if form.text else "prefixes", reason="prefix-list-invalid"
        ) from error


def _summary(read: PrefixList) -> dict[str, Any]:
    return {
        "count": len(read.networks),
        "given": read.read,
        "duplicates": read.duplicates,
        "overlaps": read.overlaps,
        "by_size": dict(read.by_size),
    }

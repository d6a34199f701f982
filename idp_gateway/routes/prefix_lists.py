"""``/prefix-lists``: addresses that policies name together."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response

from idp_gateway.callers import CallerDep, CallerFirst
from idp_gateway.dependencies import GatewayDep
from idp_gateway.errors import InvalidInput, NotFound, QuotaExceeded
from idp_gateway.in_force import ChangeRoute
from idp_gateway.policy_cases import check_cases_on, with_cases_tried
from idp_gateway.policy_changes import author_of
from idp_gateway.policy_records import PrefixListRecord
from idp_gateway.policy_replies import list_reply, list_version_reply, whole_list_reply
from idp_gateway.routes.documented import problems
from idp_gateway.routes.policies import Page
from idp_gateway.schemas.policies import (
    ListName,
    PrefixListForm,
    PrefixListReply,
    PrefixListVersionReply,
    WholePrefixListReply,
)
from idp_gateway.schemas.text import LongText
from idp_gateway.strict_json import EachKeyOnce
from policy.errors import PolicyError
from policy.prefix_files import PrefixList, read_prefixes


class _ListRoute(CallerFirst, EachKeyOnce, ChangeRoute):
    """Lists come as JSON of megabytes here."""


router = APIRouter(prefix="/prefix-lists", route_class=_ListRoute, tags=["policies"])

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


@router.put("/{name}", responses=problems(400, 401, 403, 409, 429))
def put_prefix_list(
    gateway: GatewayDep, caller: CallerDep, name: NamedList, form: PrefixListForm
) -> WholePrefixListReply:
    """Make or replace a list, from a published file or from addresses.

    The sockets whose policies name it end their grants, if it holds other addresses than before.
    Refused if it makes a case fail that one of these policies has.
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

    def attempt() -> PrefixListRecord:
        tried = check_cases_on(gateway, record)
        return gateway.store.put_prefix_list(
            record,
            based_on=form.version,
            limit=gateway.settings.prefix_lists_per_account,
            tried=tried,
        )

    return whole_list_reply(with_cases_tried(attempt))


@router.get("/{name}/history", responses=problems(400, 401, 404))
def list_prefix_list_history(
    gateway: GatewayDep,
    caller: CallerDep,
    name: NamedList,
    page: Page = 1,
    page_size: Annotated[int, Query(ge=1, le=20)] = 20,
) -> list[PrefixListVersionReply]:
    """What happened to a list, newest first; also to a deleted one."""
    account_id = caller.account.account_id
    offset = (page - 1) * page_size
    found = gateway.store.prefix_list_history(account_id, name, offset=offset, limit=page_size)
    if not found and page == 1:
        raise NotFound("no such prefix list", reason="prefix-list-unknown")
    return [list_version_reply(entry) for entry in found]


@router.delete("/{name}", status_code=204, responses=problems(400, 401, 404, 409, 429))
def delete_prefix_list(
    gateway: GatewayDep,
    caller: CallerDep,
    name: NamedList,
    why: Annotated[LongText | None, Query()] = None,
) -> Response:
    """Delete a list that no policy names; its history stays."""
    author = author_of(gateway, caller, why)
    gateway.store.delete_prefix_list(caller.account.account_id, name, author)
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

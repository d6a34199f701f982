"""Finds what a person names: sockets and policies, by id or by any of their names."""

import re
from collections.abc import Callable, Iterator, Sequence

from clients.mysocketctl.api import GatewayApi, Json, object_list, segment
from clients.mysocketctl.errors import GatewayRefused, UnknownName
from clients.mysocketctl.names import printable

_PAGE = 100
_MOST_PAGES = 1000
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def find_socket(api: GatewayApi, wanted: str) -> dict[str, Json]:
    """Your socket with this id, DNS name or name, in that order. Raises UnknownName."""
    sockets = object_list(api.get("/socket"))
    host = wanted.lower().removesuffix(".")
    for called in (
        lambda socket: socket.get("socket_id") == wanted,
        lambda socket: socket.get("dnsname") == host,
        lambda socket: socket.get("name") == wanted,
    ):
        if found := _only(sockets, called, f"sockets are called {_shown(wanted)}"):
            return found
    raise UnknownName(f"no socket of yours is called {_shown(wanted)}")


def find_policy(api: GatewayApi, wanted: str) -> dict[str, Json]:
    """The policy with this id or name, with its document. Raises UnknownName."""
    if _UUID.fullmatch(wanted) and (found := _or_none(api, f"/policy/{segment(wanted)}")):
        return found
    if found := _or_none(api, f"/policies/find?name={segment(wanted)}"):
        return found
    raise UnknownName(f"no policy of yours is called {_shown(wanted)}")


def policy_id_of(api: GatewayApi, wanted: str) -> str:
    """The id of the policy with this id or name; an id may be that of a deleted one.

    Raises UnknownName.
    """
    try:
        return str(find_policy(api, wanted).get("id"))
    except UnknownName:
        if _UUID.fullmatch(wanted):
            return wanted
        raise


def with_why(path: str, why: str | None) -> str:
    """The path of a request without a body, with the reason for the record."""
    return path if why is None else f"{path}?why={segment(why)}"


def all_pages(api: GatewayApi, path: str, *, size: int = _PAGE) -> Iterator[dict[str, Json]]:
    """Every item of a list that the gateway gives page by page, ``size`` items at a time."""
    joint = "&" if "?" in path else "?"
    for page in range(1, _MOST_PAGES + 1):
        items = object_list(api.get(f"{path}{joint}page_size={size}&page={page}"))
        yield from items
        if len(items) < size:
            return


def _only(
    items: Sequence[dict[str, Json]], called: Callable[[dict[str, Json]], bool], what: str
) -> dict[str, Json] | None:
    found = [item for item in items if called(item)]
    if len(found) > 1:
        raise UnknownName(f"{len(found)} {what}; say the id")
    return found[0] if found else None


def _or_none(api: GatewayApi, path: str) -> dict[str, Json] | None:
    try:
        found = api.get(path)
    except GatewayRefused as error:
        if error.status == 404:
            return None
        raise
    return found if isinstance(found, dict) else None


def _shown(wanted: str) -> str:
    return repr(printable(wanted, 100))

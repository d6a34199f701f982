"""``/latest_version.txt``: the original clients refuse to log in without it."""

from importlib.metadata import version

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse

router = APIRouter(tags=["about"])


@router.get("/latest_version.txt", response_class=PlainTextResponse)
def latest_version() -> PlainTextResponse:
    """The version of this gateway and of the client that belongs to it, as plain text."""
    return PlainTextResponse(version("mysocket") + "\n")

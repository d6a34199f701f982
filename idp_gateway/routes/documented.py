"""How the API's routes document their failures in OpenAPI."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["urn:mysocket:problem:input-invalid"])
    title: str = Field(examples=["Bad Request"])
    status: int
    detail: str = Field(description="A sentence for people.")
    reason: str = Field(description="A stable word for programs.", examples=["input-invalid"])
    error_message: str = Field(description="As `detail`, where the clients of 2022 look for it.")
    field: str | None = Field(default=None, description="The field that has to change.")
    decision_id: str | None = Field(default=None, description="Of a denied access.")


_WHEN = {
    400: "A field is missing, malformed or too long; `field` names it.",
    401: "No valid token, or the login has ended.",
    403: "Known, but not allowed; `quota-exceeded` if there are as many as there may be.",
    404: "There is no such thing, or it belongs to somebody else.",
    409: "It contradicts what is there.",
    413: "The body is too large.",
    429: "Too many attempts; `Retry-After` says when to come back.",
    503: "Every port is given away, or the database is out of reach; `Retry-After` says when to ask"
    " again.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may fail with these statuses."""
    return {
        status: {
            "description": _WHEN.get(status, HTTPStatus(status).phrase),
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
        for status in statuses
    }

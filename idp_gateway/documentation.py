"""The API described: as an OpenAPI document, and as rows for a page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from idp_gateway.routes.documented import Problem

API_PREFIX = "/api/v1"

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One member of a request's body."""

    name: str
    kind: str
    required: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call of the API."""

    method: str
    path: str
    tag: str
    title: str
    text: str
    needs_token: bool
    fields: tuple[Field, ...]
    answers: tuple[tuple[str, str], ...]


def describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI of everything ``app`` serves below ``/api/v1``; failures are problem documents."""
    found = get_openapi(
        title="mysocket API",
        version="1",
        summary="Reach private services by identity, not by network",
        description=(
            "Every call below is served at `/api/v1` and, for the original clients, at `/`. "
            "Failures are problem documents (RFC 9457) with a stable `reason`."
        ),
        routes=app.routes,
    )
    found["paths"] = {
        path: operations
        for path, operations in found["paths"].items()
        if path.startswith(f"{API_PREFIX}/")
    }
    for operations in found["paths"].values():
        for operation in operations.values():
            # Our answer to input that does not fit is a problem with status 400.
            operation["responses"].pop("422", None)
    found["components"]["schemas"]["Problem"] = Problem.model_json_schema()
    return without_unused_schemas(found)


def operations_of(description: Mapping[str, Any]) -> list[Operation]:
    """Every operation of an OpenAPI document, in its order, grouped by tag."""
    schemas = description["components"]["schemas"]
    found = [
        _operation(path, method, operation, schemas)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    tags = list(dict.fromkeys(operation.tag for operation in found))
    return sorted(found, key=lambda operation: tags.index(operation.tag))


def without_unused_schemas(description: dict[str, Any]) -> dict[str, Any]:
    """The same OpenAPI document without the schemas that none of its calls leads to."""
    schemas = description["components"]["schemas"]
    wanted: set[str] = set()
    waiting = list(_references(description["paths"]))
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += _references(schemas[name])
    kept = {name: schema for name, schema in schemas.items() if name in wanted}
    return description | {"components": description["components"] | {"schemas": kept}}


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield str(part["$ref"]).rpartition("/")[2]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def _operation(
    path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Schema]
) -> Operation:
    return Operation(
        method=method.upper(),
        path=path,
        tag=(operation.get("tags") or [""])[0],
        title=operation.get("summary", ""),
        text=operation.get("description", ""),
        needs_token="security" in operation,
        fields=tuple(_fields(operation, schemas)),
        answers=tuple(
            (status, answer.get("description", ""))
            for status, answer in sorted(operation["responses"].items())
        ),
    )


def _fields(operation: Mapping[str, Any], schemas: Mapping[str, Schema]) -> Iterator[Field]:
    for parameter in operation.get("parameters", ()):
        yield Field(
            name=f"{parameter['name']} ({parameter['in']})",
            kind=_kind(parameter.get("schema", {})),
            required=parameter.get("required", False),
            text=parameter.get("description", ""),
        )
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = schemas.get(reference.rpartition("/")[2], {})
    for name, member in schema.get("properties", {}).items():
        yield Field(
            name=name,
            kind=_kind(member),
            required=name in schema.get("required", ()),
            text=member.get("description", ""),
        )


def _kind(schema: Schema) -> str:
    """A word or two for a type, as a reader wants it."""
    if "anyOf" in schema:
        kinds = [_kind(choice) for choice in schema["anyOf"] if choice.get("type") != "null"]
        return " or ".join(kinds)
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    limit = f" ≤ {schema['maxLength']}" if "maxLength" in schema else ""
    return f"{schema.get('type', 'anything')}{limit}"

"""The API's own description: ``/openapi.json`` for programs, ``/docs`` for people, both offline."""

from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from idp_gateway.pages import page

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """The OpenAPI document."""
    return JSONResponse(_document(request))


@router.get("/docs")
def documentation(request: Request) -> Response:
    """Every call on one page."""
    document = _document(request)
    schemas = document.get("components", {}).get("schemas", {})
    calls = [
        _call(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    objects = [_schema(name, schema) for name, schema in sorted(schemas.items())]
    return page("api", {"calls": calls, "objects": objects, "version": document["info"]["version"]})


def _document(request: Request) -> dict[str, Any]:
    app: FastAPI = request.app
    return app.openapi()


def _call(method: str, path: str, operation: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": method.upper(),
        "path": path,
        "summary": operation.get("description") or operation.get("summary", ""),
        "parameters": [
            f"{parameter['name']} ({parameter['in']})"
            for parameter in operation.get("parameters", [])
        ],
        "body": _content_type(operation.get("requestBody", {})),
        "answer": _content_type(operation.get("responses", {}).get("200", {})),
    }


def _content_type(message: dict[str, Any]) -> str:
    for content in message.get("content", {}).values():
        return _type(content.get("schema", {}))
    return ""


def _schema(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    required = set(schema.get("required", []))
    return {
        "name": name,
        "text": schema.get("description", ""),
        "fields": [
            {
                "name": field,
                "type": _type(shape),
                "required": field in required,
                "text": shape.get("description", ""),
            }
            for field, shape in schema.get("properties", {}).items()
        ],
    }


def _type(shape: dict[str, Any]) -> str:
    """The shape of a value in a few words."""
    if "$ref" in shape:
        return str(shape["$ref"]).rpartition("/")[2]
    if "anyOf" in shape:
        return " or ".join(_type(option) for option in shape["anyOf"])
    if shape.get("type") == "array":
        return f"list of {_type(shape.get('items', {}))}"
    return str(shape.get("type", ""))

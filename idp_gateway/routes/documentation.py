"""The API's own description: ``/openapi.json`` for programs, ``/docs`` for people, both offline."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from idp_gateway.documentation import describe, operations_of
from idp_gateway.pages import page

router = APIRouter(include_in_schema=False)


@router.get("/openapi.json")
@router.get("/api/v1/openapi.json")
def openapi(request: Request) -> JSONResponse:
    """OpenAPI 3.1 of everything below ``/api/v1``."""
    return JSONResponse(describe(request.app))


@router.get("/docs")
@router.get("/api/v1/docs")
def documentation(request: Request) -> Response:
    """The same for people, without scripts or anything from elsewhere."""
    found = describe(request.app)
    return page("api", {"api": found["info"], "operations": operations_of(found)})

"""``/internal/authorize/…``: Envoy's question about a request without a valid session."""

from functools import partial

from fastapi import APIRouter, Request
from starlette.responses import Response

from idp_gateway import gatekeeper
from idp_gateway.capacity import in_thread
from idp_gateway.dependencies import GatewayDep
from idp_gateway.edge_requests import PREFIX, EdgeRequest

router = APIRouter(include_in_schema=False)


async def authorize_request(request: Request, gateway: GatewayDep) -> Response:
    """Answer for one request; see ``docs/internals.md``, "ext_authz"."""
    question = EdgeRequest.read(request, gateway)
    return await in_thread(
        gateway.capacity.decisions, partial(gatekeeper.answer, gateway, question)
    )


# No methods: Envoy asks with the method of the request it holds, and WebDAV alone has dozens.
router.add_api_route(
    f"{PREFIX}/{{path:path}}", authorize_request, methods=[], operation_id="authorize-request"
)

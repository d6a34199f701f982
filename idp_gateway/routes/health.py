"""Whether this gateway answers and reaches its database."""

from fastapi import APIRouter

from idp_gateway.dependencies import GatewayDep

router = APIRouter(tags=["health"])


@router.get("/healthz")
def healthz(gateway: GatewayDep) -> dict[str, str | int]:
    """The newest revision, read from the database."""
    return {"status": "ok", "revision": gateway.store.revision()}

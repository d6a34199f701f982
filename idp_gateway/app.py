"""The gateway as one ASGI application: middleware, routes and errors, in plain sight."""

from fastapi import APIRouter, FastAPI

from idp_gateway.bounds import BodyLimit, PlainAddress, SecurityHeaders
from idp_gateway.composition import Gateway
from idp_gateway.problems import install_problems
from idp_gateway.routes import (
    access_requests,
    accounts,
    audit,
    authorize,
    browser,
    ca_log,
    client_login,
    connect,
    device,
    documentation,
    guests,
    health,
    hosts,
    internal,
    keys,
    login,
    oauth,
    policies,
    policy_questions,
    portal,
    prefix_lists,
    quick_keys,
    request_pages,
    revocations,
    sharing_pages,
    snippets,
    sockets,
    tunnels,
    version,
)

API_PREFIXES = ("", "/api/v1")
"""Where the API is served: the clients of 2021 call the first, those of 2022 the second."""

API_ROUTERS: tuple[APIRouter, ...] = (
    # Routes are tried in this order, and certificates are what is asked for most.
    keys.router,
    accounts.router,
    login.router,
    policies.router,
    policy_questions.router,
    prefix_lists.router,
    sockets.router,
    tunnels.router,
    tunnels.logins,
    connect.router,
    hosts.router,
    hosts.syncing,
    revocations.router,
    revocations.lists,
    access_requests.router,
    access_requests.rules,
    guests.router,
    audit.router,
    ca_log.router,
    version.router,
    snippets.router,
    oauth.router,
    device.router,
    portal.router,
    oauth.pages,
    client_login.pages,
)
"""Served below every one of ``API_PREFIXES``."""

PAGE_ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    internal.router,
    documentation.router,
    authorize.router,
    browser.router,
    device.pages,
    portal.pages,
    request_pages.pages,
    sharing_pages.pages,
)
"""Served once."""


def create_app(gateway: Gateway) -> FastAPI:
    """The application that serves ``gateway``."""
    app = application()
    app.state.gateway = gateway
    return app


def application() -> FastAPI:
    """The application without a gateway behind it: enough to describe the API."""
    app = FastAPI(
        title="mysocket",
        summary="Reach private services by identity, not by network",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # Nothing here takes it, and every request would ask the environment whether somebody does.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # A redirect would repeat passwords and tokens at whatever address it is thought to have.
        redirect_slashes=False,
    )
    for prefix in API_PREFIXES:
        for router in API_ROUTERS:
            app.include_router(router, prefix=prefix, include_in_schema=prefix != "")
    for router in PAGE_ROUTERS:
        app.include_router(router)
    app.router.routes.insert(0, quick_keys.ShortWay(app.router))
    app.add_middleware(PlainAddress)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(BodyLimit)
    install_problems(app)
    return app

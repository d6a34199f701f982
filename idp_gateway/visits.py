"""One browser request, read once: who is signed in, from where, and what its forms are tied to."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.responses import Response

from idp_gateway.access import identity_of
from idp_gateway.composition import Gateway
from idp_gateway.cookies import FORM, read_cookies
from idp_gateway.dependencies import GatewayDep, source_address
from idp_gateway.errors import GatewayError, InvalidInput, TooManyAttempts
from idp_gateway.forms import Signer
from idp_gateway.pages import Message, message_page
from idp_gateway.problems import status_of
from idp_gateway.providers.local import LABEL as LOCAL_LABEL
from idp_gateway.records import LoginSessionRecord
from idp_gateway.sessions import find_session, new_secret
from policy.types import Identity, IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What every page needs to know of a request."""

    gateway: Gateway
    now: datetime
    cookies: Mapping[str, str]
    session: LoginSessionRecord | None
    source_ip: IPAddress
    fetch_site: str | None
    browser: str
    """Secret of the form cookie; a new one if the browser brought none."""

    @property
    def signer(self) -> Signer:
        return self.gateway.signer

    @property
    def identity(self) -> Identity | None:
        """Who is signed in, if anybody."""
        return identity_of(self.session) if self.session is not None else None

    def form_token(self, purpose: str) -> str:
        """Hidden field that ties a form to this browser; see ``Signer.form_token``."""
        return self.signer.form_token(purpose, self.browser, now=self.now)

    def check_form(self, purpose: str, token: str) -> None:
        """Let a submitted form through.

        Raises:
            FormRefused: it is not from our page in this browser.
        """
        self.signer.check_form(
            purpose,
            token,
            browser=self.cookies.get(FORM, ""),
            fetch_site=self.fetch_site,
            now=self.now,
        )


def get_visit(request: Request, gateway: GatewayDep) -> Visit:
    """FastAPI dependency: the request as a ``Visit``.

    Raises:
        CookieRefused: one of our cookies appears twice.
    """
    now = gateway.clock()
    cookies = read_cookies(request.headers.getlist("cookie"))
    return Visit(
        gateway=gateway,
        now=now,
        cookies=cookies,
        session=find_session(gateway.store, cookies, now=now),
        source_ip=source_address(request, gateway),
        fetch_site=request.headers.get("sec-fetch-site"),
        browser=cookies.get(FORM) or new_secret(),
    )


VisitDep = Annotated[Visit, Depends(get_visit)]


def query_of(request: Request, *, limit: int = 8192) -> dict[str, str]:
    """The query parameters, each at most once (RFC 6749 §3.1).

    Raises:
        InvalidInput: one is repeated, or all together are too long.
    """
    if len(request.url.query) > limit:
        raise InvalidInput("The address is too long.", reason="query-too-long")
    pairs = request.query_params.multi_items()
    if len({name for name, _ in pairs}) != len(pairs):
        raise InvalidInput("A parameter of the address is repeated.", reason="parameter-repeated")
    return dict(pairs)


def describe(gateway: Gateway, identity: Identity) -> dict[str, object]:
    """Somebody as pages show them."""
    return {
        "label": str(identity.email) if identity.email is not None else identity.name,
        "name": identity.name,
        "provider": provider_label(gateway, identity.issuer),
        "verified": identity.email is not None,
    }


def provider_label(gateway: Gateway, issuer: str) -> str:
    """What pages call a way to sign in."""
    if issuer == gateway.settings.base_url:
        return LOCAL_LABEL
    configured = (entry for entry in gateway.settings.providers if entry.issuer == issuer)
    return next((entry.title or entry.name for entry in configured), issuer)


class PageRoute(APIRoute):
    """A route for people: its errors are pages, not problem documents."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_with_pages(request: Request) -> Response:
            try:
                return await answer(request)
            except GatewayError as error:
                return error_page(error)
            except RequestValidationError:
                return error_page(InvalidInput("Something in the form is missing or too long."))

        return answer_with_pages


def error_page(error: GatewayError, *, assets: str = "") -> Response:
    """One of our errors for people."""
    status = status_of(error)
    titles = {404: "Not found", 429: "Too many attempts", 502: "Sign-in failed"}
    message = Message(
        title=titles.get(status, "That did not work"),
        text=str(error),
        badge=str(status),
        tone="bad",
        reason=error.reason,
        link=(f"{assets}/", "Go to the start page"),
    )
    response = message_page(message, status=status, assets=assets)
    if isinstance(error, TooManyAttempts):
        response.headers["retry-after"] = str(error.retry_after)
    return response

"""HTML answers: rendered templates under headers that leave a page nothing to be abused with."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from starlette.responses import RedirectResponse, Response

from templates.loader import render_page


def content_security_policy(*, assets: str = "", form_targets: Iterable[str] = ()) -> str:
    """The policy of a page: no scripts, no frames, one style sheet, forms to us alone.

    Chromium applies ``form-action`` to the redirects that follow a submitted form as well, so the
    place a form ends up at has to be named in ``form_targets``.
    """
    own = f"'self' {assets}".rstrip()
    forms = " ".join(["'self'", *form_targets])
    return (
        f"default-src 'none'; style-src {own}; img-src {own}; form-action {forms}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )


def page(
    name: str,
    values: Mapping[str, object],
    *,
    status: int = 200,
    assets: str = "",
    form_targets: Iterable[str] = (),
    cookies: Iterable[str] = (),
) -> Response:
    """A rendered page.

    ``assets`` is the gateway's base address where the page is shown on another host, else empty.
    """
    response = Response(
        render_page(name, {"assets": assets, **values}),
        status_code=status,
        media_type="text/html",
        headers={
            "content-security-policy": content_security_policy(
                assets=assets, form_targets=form_targets
            ),
            **_QUIET,
        },
    )
    return with_cookies(response, cookies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A page that says one thing."""

    title: str
    text: str
    badge: str = ""
    tone: Literal["", "good", "bad"] = ""
    reason: str = ""
    link: tuple[str, str] | None = None
    """Address and label of the one way on."""


def message_page(
    message: Message, *, status: int = 200, assets: str = "", cookies: Iterable[str] = ()
) -> Response:
    """A rendered message; for the rest see ``page``."""
    return page("message", {"message": message}, status=status, assets=assets, cookies=cookies)


def redirect(location: str, *, status: int = 302, cookies: Iterable[str] = ()) -> Response:
    """Send the browser on; 303 after a form, so that the form is not sent again (RFC 9110)."""
    response = RedirectResponse(location, status_code=status, headers=_QUIET)
    # RedirectResponse quotes anew what is quoted already; the address here is built, not taken.
    response.headers["location"] = location
    return with_cookies(response, cookies)


def with_cookies(response: Response, cookies: Iterable[str]) -> Response:
    """Add ``Set-Cookie`` headers to ``response`` and give it back."""
    for cookie in cookies:
        response.headers.append("set-cookie", cookie)
    return response


_QUIET = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
}

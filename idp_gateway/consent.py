"""The page on which a person lets a program act for them, and the answer to it.

What is being allowed travels through the page signed and bound to the login session, so the answer
is about what was shown and nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import Depends, Form
from starlette.responses import Response

from idp_gateway.access import identity_of
from idp_gateway.client_access import Audience
from idp_gateway.errors import NotAuthenticated
from idp_gateway.forms import SignatureRefused
from idp_gateway.login_pages import form_cookie
from idp_gateway.pages import page
from idp_gateway.records import LoginSessionRecord
from idp_gateway.visits import Visit, describe
from policy.types import Identity

CONSENT_LIFE = timedelta(minutes=10)
CLIENT_NAME = "mysocketctl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person is asked to allow."""

    purpose: str
    """Which form this is; an answer to one is none to another."""
    action: str
    """Path the answer is posted to."""
    audience: Audience
    details: Mapping[str, str]
    """What the flow needs to go on, kept signed in the page."""
    facts: tuple[tuple[str, str], ...]
    """Label and value of what the person should look at."""
    on_this_computer: bool = True
    form_targets: tuple[str, ...] = ()
    """Origins the answer may end up at."""


def ask(visit: Visit, question: Question) -> Response:
    """The consent page."""
    session = require_session(visit)
    identity = visit.identity
    assert identity is not None  # noqa: S101 - there is a session
    token = visit.signer.sign(
        f"consent.{question.purpose}",
        {**question.details, "audience": str(question.audience), "session": session.session_id},
        until=visit.now + CONSENT_LIFE,
    )
    who = describe(visit.gateway, identity)
    values: dict[str, object] = {
        "client_name": CLIENT_NAME,
        "on_this_computer": question.on_this_computer,
        "asks_for": question.audience.wish,
        "who": who,
        "facts": [("Signed in as", who["label"]), *question.facts],
        "action": question.action,
        "csrf": visit.form_token(question.purpose),
        "request_token": token,
    }
    return page("consent", values, form_targets=question.form_targets, cookies=[form_cookie(visit)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person decided about which question."""

    allowed: bool
    audience: Audience
    session: LoginSessionRecord
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentForm:
    """The form of the consent page as it was sent."""

    csrf: str
    request: str
    """The question, signed."""
    answer: str


async def consent_form(
    csrf: Annotated[str, Form(max_length=4096)] = "",
    request: Annotated[str, Form(max_length=16384)] = "",
    answer: Annotated[str, Form(max_length=16)] = "",
) -> ConsentForm:
    """FastAPI dependency: the submitted consent form, nothing of it checked yet."""
    return ConsentForm(csrf=csrf, request=request, answer=answer)


ConsentFormDep = Annotated[ConsentForm, Depends(consent_form)]


def read_answer(visit: Visit, purpose: str, form: ConsentForm) -> Answer:
    """Read the submitted consent form.

    Raises:
        FormRefused: not sent from our page in this browser.
        NotAuthenticated: nobody is signed in.
        SignatureRefused: changed, too old, or shown to somebody else.
    """
    visit.check_form(purpose, form.csrf)
    session = require_session(visit)
    details = visit.signer.read(f"consent.{purpose}", form.request, now=visit.now)
    if details.pop("session", None) != session.session_id:
        raise SignatureRefused("Somebody else is signed in now. Please start again.")
    return Answer(
        allowed=form.answer == "allow",
        audience=Audience.of(str(details.pop("audience"))),
        session=session,
        details={name: str(value) for name, value in details.items()},
    )


def require_session(visit: Visit) -> LoginSessionRecord:
    """The login session of a visit.

    Raises:
        NotAuthenticated: there is none.
    """
    if visit.session is None:
        raise NotAuthenticated("Please sign in first.")
    return visit.session


def signed_in(visit: Visit) -> Identity:
    """Who is signed in.

    Raises:
        NotAuthenticated: nobody is.
    """
    return identity_of(require_session(visit))


def socket_fact(audience: Audience) -> Iterable[tuple[str, str]]:
    """The line of the consent page that names the socket, if there is one."""
    return [] if audience.dns_name is None else [("Service", audience.dns_name)]

"""Pages that more than one login flow ends at: sign in, be turned away, be signed in."""

from collections.abc import Iterable
from urllib.parse import urlencode

from starlette.responses import Response

from idp_gateway.access import Verdict, told_reason
from idp_gateway.composition import Gateway
from idp_gateway.cookies import ATTEMPT, FORM, LOGIN, clear_cookie, names_with, set_cookie
from idp_gateway.forms import FORM_LIFE
from idp_gateway.pages import page, redirect
from idp_gateway.records import AccountRecord
from idp_gateway.sessions import begin_session, login_life, new_secret
from idp_gateway.targets import ReturnTo
from idp_gateway.visits import Visit, describe
from policy.explain import safe_reason
from policy.types import Identity, Reason

_SENTENCES = {
    Reason.NO_POLICY: "Nobody has been let in to this service yet.",
    Reason.NOT_ON_LIST: "This account is not on the list of this service.",
    Reason.EMAIL_UNVERIFIED: "Nobody has verified the e-mail address of this account.",
    Reason.PERSON_REVOKED: "The owner of this service has taken this account's access back.",
    Reason.SESSION_EXPIRED: "The login has ended.",
    Reason.ACTION_NOT_OFFERED: "This service does not offer what was asked for.",
}


def form_cookie(visit: Visit) -> str:
    """The cookie that a page with a form sets, so that the form works in this browser alone."""
    return set_cookie(FORM, visit.browser, max_age=FORM_LIFE, same_site="Strict")


def login_page(
    visit: Visit,
    return_to: ReturnTo,
    *,
    destination: str = "",
    message: str = "",
    email: str = "",
    status: int = 200,
    form_targets: Iterable[str] = (),
) -> Response:
    """Every way to sign in. ``destination`` is what the person wanted, in their words.

    ``form_targets`` are the origins that the submitted form may end up at.
    """
    signed = visit.signer.sign_return(return_to, now=visit.now)
    query = f"?next={signed}" if signed else ""
    values: dict[str, object] = {
        "destination": destination,
        "message": message,
        "email": email,
        "local_form": True,
        "csrf": visit.form_token("login"),
        "next": signed,
        "providers": [
            {"name": name, "label": provider.label, "href": f"/login/{name}/start{query}"}
            for name, provider in visit.gateway.providers.items()
        ],
    }
    return page(
        "login", values, status=status, form_targets=form_targets, cookies=[form_cookie(visit)]
    )


def signed_in(
    visit: Visit,
    identity: Identity,
    return_to: ReturnTo,
    *,
    used: Iterable[str] = (),
    account: AccountRecord | None = None,
) -> Response:
    """Begin a login session, end the one before, and go where the person was going.

    ``used`` names cookies that have done their work; ``account`` as for ``begin_session``.
    """
    gateway = visit.gateway
    life = login_life(gateway.settings)
    secret, _ = begin_session(gateway.store, identity, life=life, now=visit.now, account=account)
    if visit.session is not None:
        gateway.store.revoke_login_session(visit.session.session_id, visit.now)
    cookies = [
        set_cookie(LOGIN, secret, max_age=life),
        set_cookie(FORM, new_secret(), max_age=FORM_LIFE, same_site="Strict"),
        *map(clear_cookie, used),
    ]
    return redirect(return_to.path, status=303, cookies=cookies)


def forget_login(visit: Visit) -> list[str]:
    """End the browser's login session; the cookies to set with the answer."""
    if visit.session is not None:
        visit.gateway.store.revoke_login_session(visit.session.session_id, visit.now)
    names = [LOGIN, FORM, *names_with(visit.cookies, ATTEMPT)]
    return [clear_cookie(name) for name in names]


def denied_page(
    gateway: Gateway, verdict: Verdict, *, return_to: ReturnTo, assets: str = ""
) -> Response:
    """403: a known person whom the rules do not admit. Never a redirect: that would go in circles.

    ``assets`` is the gateway's base address when the page is shown on a socket's own host.
    """
    reason = told_reason(verdict.decision.reasons[0])
    signed = gateway.signer.sign_return(return_to, now=gateway.clock())
    values: dict[str, object] = {
        "who": describe(gateway, verdict.request.identity),
        "host": verdict.request.socket.dns_name,
        "sentence": _SENTENCES.get(reason) or f"{safe_reason(verdict.decision).capitalize()}.",
        "reason": str(reason),
        "decision_id": verdict.decision_id,
        "switch_href": f"{assets}/logout?next={signed}",
        "ask_href": _ask_href(gateway, verdict, reason, assets),
    }
    return page("denied", values, status=403, assets=assets)


def _ask_href(gateway: Gateway, verdict: Verdict, reason: Reason, assets: str) -> str:
    """Where to ask to be let in, on the gateway's own host; empty where it would be in vain."""
    if reason in {Reason.EMAIL_UNVERIFIED, Reason.PERSON_REVOKED}:
        return ""
    request = verdict.request
    rules = gateway.store.rules_for_socket(request.socket.socket_id)
    if rules is None or not rules.asking:
        return ""
    query = {
        "host": request.socket.dns_name,
        "action": str(request.action),
        "decision": verdict.decision_id,
    }
    return f"{assets}/ask?{urlencode(query)}"

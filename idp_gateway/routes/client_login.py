"""Browser login as the original clients know it: a token for one socket, sent to their loopback.

``GET /mtls-ca/socket/{dns_name}/auth?port=N`` ends at ``http://localhost:N/?token=…``. That
contract has neither state nor PKCE and puts the token into an address, so the token is for one
socket only, the port is a number and the host fixed, and a person is asked first.
"""

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from idp_gateway import client_access
from idp_gateway.client_access import Audience, find_socket
from idp_gateway.consent import ConsentFormDep, Question, ask, read_answer, socket_fact
from idp_gateway.errors import AccessDenied
from idp_gateway.login_pages import login_page
from idp_gateway.pages import Message, message_page, redirect
from idp_gateway.targets import ReturnTo, parse_host, parse_port
from idp_gateway.visits import PageRoute, VisitDep, query_of

_PURPOSE = "client-login"
_ACTION = "/mtls-ca/login"

pages = APIRouter(route_class=PageRoute, include_in_schema=False)


@pages.get("/mtls-ca/socket/{dns_name}/auth")
def show_consent(request: Request, visit: VisitDep, dns_name: str) -> Response:
    """Log in, then ask the person."""
    port = parse_port(query_of(request).get("port", ""))
    audience = Audience(parse_host(dns_name.lower()))
    find_socket(visit.gateway, audience)
    if visit.session is None:
        here = ReturnTo.build(f"/mtls-ca/socket/{audience.dns_name}/auth", port=str(port))
        return login_page(visit, here, destination=audience.dns_name or "")
    question = Question(
        purpose=_PURPOSE,
        action=_ACTION,
        audience=audience,
        details={"port": str(port)},
        facts=(
            *socket_fact(audience),
            ("This browser", str(visit.source_ip)),
            ("Answer goes to", f"localhost, port {port}"),
        ),
        form_targets=(f"http://localhost:{port}",),
    )
    return ask(visit, question)


@pages.post(_ACTION)
def take_consent(visit: VisitDep, form: ConsentFormDep) -> Response:
    """Send the waiting program its token."""
    given = read_answer(visit, _PURPOSE, form)
    address = f"http://localhost:{parse_port(given.details['port'])}/"
    if not given.allowed:
        return redirect(f"{address}?{urlencode({'error': 'access_denied'})}", status=303)
    try:
        issued = client_access.issue(
            visit.gateway,
            given.audience,
            session_id=given.session.session_id,
            source_ip=visit.source_ip,
        )
    except AccessDenied as error:
        message = Message(
            title="You do not have access",
            text=f"{error}. Decision {error.decision_id}.",
            badge="403",
            tone="bad",
            reason=error.reason,
            link=("/logout", "Log in as someone else"),
        )
        return message_page(message, status=403)
    return redirect(f"{address}?{urlencode({'token': issued.token})}", status=303)

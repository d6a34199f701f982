"""``/mtls-ca/socket/{dns_name}``: certificates for the people a socket admits.

The caller shows a client token of the browser login. It is good for this one socket only and
decides nothing: every certificate rests on a decision made now.
"""

from datetime import timedelta

from fastapi import APIRouter, Request

from ca.errors import PrincipalError
from idp_gateway import access
from idp_gateway.callers import PresentedToken, standing_session
from idp_gateway.composition import Gateway
from idp_gateway.conversions import policy_of
from idp_gateway.dependencies import GatewayDep, source_address
from idp_gateway.errors import Forbidden, NotFound
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.keys import (
    ClientCertificateReply,
    CsrForm,
    SshCertificateReply,
    SshKeyForm,
)
from policy.types import Action, Grant, Reason

router = APIRouter(prefix="/mtls-ca/socket/{dns_name}", tags=["certificates"])


@router.post("/csr", responses=problems(400, 401, 403, 404))
def certify_tls_client(
    gateway: GatewayDep, request: Request, token: PresentedToken, dns_name: str, form: CsrForm
) -> ClientCertificateReply:
    """A client certificate that opens this TLS socket for some minutes.

    Of the request only the public key counts; names come from the login.
    """
    grant = _grant(gateway, request, token, dns_name, Action.TLS)
    issued = gateway.authority.issue_client_certificate(grant, form.csr)
    return ClientCertificateReply(client_certificate=issued.chain_pem.decode("ascii"))


@router.post("/ssh", responses=problems(400, 401, 403, 404))
def certify_ssh_login(
    gateway: GatewayDep, request: Request, token: PresentedToken, dns_name: str, form: SshKeyForm
) -> SshCertificateReply:
    """An SSH certificate that the sshd behind this TLS socket accepts for some minutes."""
    grant = _grant(gateway, request, token, dns_name, Action.SSH)
    try:
        issued = gateway.authority.issue_ssh_certificate(grant, form.ssh_public_key)
    except PrincipalError as error:
        # Mailboxes may hold * and ?, which sshd would read as patterns.
        raise Forbidden(
            f"the address {grant.email} cannot be the name in an SSH certificate",
            reason="email-not-certifiable",
        ) from error
    return SshCertificateReply(signed_ssh_cert=issued.line)


def _grant(gateway: Gateway, request: Request, token: str, dns_name: str, action: Action) -> Grant:
    dns_name = dns_name.lower()
    claims = gateway.tokens.verify_client_token(token, dns_name=dns_name)
    session = standing_session(gateway, claims.session_id)
    socket = gateway.store.find_socket_by_dns_name(dns_name)
    if socket is None:
        raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
    verdict = access.authorize(
        gateway.store,
        gateway.clock,
        identity=access.identity_of(session),
        socket=policy_of(socket),
        action=action,
        source_ip=source_address(request, gateway),
        denials=gateway.denials,
    )
    return access.grant(
        verdict,
        session=session,
        life=timedelta(minutes=gateway.settings.grant_minutes),
        leeway=timedelta(minutes=gateway.settings.clock_drift_minutes),
    )

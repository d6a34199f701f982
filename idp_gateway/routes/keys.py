"""``/mtls-ca/socket/{dns_name}``: certificates for the people a socket admits.

The caller shows a client token of the browser login. It is good for this one socket only and
decides nothing: every certificate rests on a decision made now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from ca.errors import PrincipalError
from ca.ssh import IssuedSshCertificate
from idp_gateway import access
from idp_gateway.callers import PresentedToken, standing_session
from idp_gateway.capacity import sign_in_thread
from idp_gateway.composition import Gateway
from idp_gateway.dependencies import GatewayDep, source_address
from idp_gateway.errors import AccessDenied, Forbidden, KeyProofRequired, NotFound
from idp_gateway.key_proofs import CHALLENGE_LIFE, ProofPlace, challenge, check_proof
from idp_gateway.prepared import Prepared
from idp_gateway.records import LoginSessionRecord, SocketRecord
from idp_gateway.routes.documented import problems
from idp_gateway.schemas.keys import (
    ClientCertificateReply,
    CsrForm,
    ProvenSshKeyForm,
    SshCertificateReply,
    SshChallengeReply,
)
from policy.types import Action, Grant, Reason

Result = TypeVar("Result")

_RSA = "ssh-rsa"

router = APIRouter(prefix="/mtls-ca/socket/{dns_name}", tags=["certificates"])


@router.post("/csr", responses=problems(400, 401, 403, 404, 429, 503))
def certify_tls_client(
    gateway: GatewayDep, request: Request, token: PresentedToken, dns_name: str, form: CsrForm
) -> ClientCertificateReply:
    """A client certificate that opens this TLS socket for some minutes.

    Of the request only the public key counts; names come from the login.
    """
    asking = _asking(gateway, token, dns_name)
    # A certificate request is signed with its own key, which is checked before it is signed; here
    # nothing but the certificate is ever made of the decision.
    verdict = _decide(gateway, request, asking, Action.TLS, proven=True)
    try:
        grant = _grant_of(gateway, verdict, asking.session)
        prepared = gateway.authority.prepare_client_certificate(grant, form.csr)
        proof = gateway.log.append(prepared.record, prepared.entry, decision=verdict.unrecorded)
    except Exception as error:
        _put_failure_on_record(gateway, verdict, error)
        raise
    return ClientCertificateReply(
        client_certificate=prepared.certificate.chain_pem.decode("ascii"),
        log_proof=proof.to_json(),
    )


@router.post("/ssh-challenge", responses=problems(401, 404))
def challenge_ssh_key(
    gateway: GatewayDep, token: PresentedToken, dns_name: str
) -> SshChallengeReply:
    """What to sign with an SSH key, to prove that one has its private half."""
    asking = _asking(gateway, token, dns_name)
    return SshChallengeReply(
        nonce=challenge(gateway.signer, asking.place, now=gateway.clock()),
        expires_in=int(CHALLENGE_LIFE.total_seconds()),
    )


@router.post(
    "/ssh", responses=problems(400, 401, 403, 404, 429, 503), response_model=SshCertificateReply
)
async def certify_ssh_login(
    gateway: GatewayDep,
    request: Request,
    token: PresentedToken,
    dns_name: str,
    form: ProvenSshKeyForm,
) -> Response:
    """An SSH certificate that the sshd behind this TLS socket accepts for some minutes."""
    # What takes microseconds is done here and now; only what waits for somebody gets a thread.
    # Vetting a new RSA key takes a thousand times as long as any other step.
    at_once = gateway.store.database.is_sqlite and _RSA not in form.ssh_public_key
    asking = await _run(at_once, partial(_asking, gateway, token, dns_name))
    # Making the rules of a socket ready, once after each change, may take seconds.
    ready = at_once and gateway.rules.is_ready(asking.socket)
    decided = await _run(ready, partial(_decide_ssh, gateway, request, asking, form))
    verdict = decided.verdict
    try:
        grant = _grant_of(gateway, verdict, asking.session)
        at_once = at_once and gateway.authority.signs_here(grant.socket_id)
        certify = partial(_certify, gateway, grant, form, decided.proven)
        if at_once:
            prepared = certify()
        else:
            prepared = await sign_in_thread(gateway.capacity.signatures, certify)
        proof = await gateway.log.append_soon(
            prepared.record, prepared.entry, decision=verdict.unrecorded
        )
    except Exception as error:
        await run_in_threadpool(_put_failure_on_record, gateway, verdict, error)
        raise
    return JSONResponse(
        {"signed_ssh_cert": prepared.certificate.line, "log_proof": proof.to_json()}
    )


async def _run(at_once: bool, step: Callable[[], Result]) -> Result:  # noqa: FBT001
    return step() if at_once else await run_in_threadpool(step)


def _decide_ssh(
    gateway: Gateway, request: Request, asking: "_Asking", form: ProvenSshKeyForm
) -> "_Decided":
    proven = _has_proven(gateway, asking, form)
    verdict = _decide(gateway, request, asking, Action.SSH, proven=proven)
    return _Decided(verdict=verdict, proven=proven)


def _put_failure_on_record(gateway: Gateway, verdict: access.Verdict, error: Exception) -> None:
    if isinstance(error, AccessDenied):  # which tells the decision's id
        access.put_on_record(gateway.store, verdict, gateway.denials)
    else:
        access.put_vain_on_record(gateway.store, verdict, gateway.denials)


def _certify(
    gateway: Gateway,
    grant: Grant,
    form: ProvenSshKeyForm,
    proven: bool,  # noqa: FBT001
) -> Prepared[IssuedSshCertificate]:
    try:
        return gateway.authority.prepare_ssh_certificate(grant, form.ssh_public_key, proven=proven)
    except PrincipalError as error:
        # Mailboxes may hold * and ?, which sshd would read as patterns.
        raise Forbidden(
            f"the address {grant.email} cannot be the name in an SSH certificate",
            reason="email-not-certifiable",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """Whoever shows a client token, and the socket it is for."""

    session: LoginSessionRecord
    socket: SocketRecord

    @property
    def place(self) -> ProofPlace:
        return ProofPlace(session_id=self.session.session_id, dns_name=self.socket.dns_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decided:
    """What was decided about somebody's key, and not put on record yet."""

    verdict: access.Verdict
    proven: bool


def _asking(gateway: Gateway, token: str, dns_name: str) -> _Asking:
    dns_name = dns_name.lower()
    claims = gateway.tokens.verify_client_token(token, dns_name=dns_name)
    session = standing_session(gateway, claims.session_id)
    socket = gateway.store.find_socket_by_dns_name(dns_name)
    if socket is None:
        raise NotFound("no such socket", reason=Reason.SOCKET_UNKNOWN)
    return _Asking(session=session, socket=socket)


def _has_proven(gateway: Gateway, asking: _Asking, form: ProvenSshKeyForm) -> bool:
    """Whether the key came with proof; a proof that does not hold is an error, never "no"."""
    if form.nonce is None or form.proof is None:
        if asking.socket.ssh_key_proof_required:
            raise KeyProofRequired(
                "this socket certifies an SSH key only with proof that you have its private half"
            )
        return False
    check_proof(
        gateway.signer,
        asking.place,
        public_key=form.ssh_public_key,
        nonce=form.nonce,
        proof=form.proof,
        now=gateway.clock(),
    )
    return True


def _decide(
    gateway: Gateway, request: Request, asking: _Asking, action: Action, *, proven: bool
) -> access.Verdict:
    return access.decide(
        gateway.clock,
        gateway.rules.guarded(asking.socket),
        access.Asked(
            identity=access.identity_of(asking.session),
            action=action,
            origin=gateway.origins.of(source_address(request, gateway)),
            client_proof=proven,
        ),
        denials=gateway.denials,
    )


def _grant_of(gateway: Gateway, verdict: access.Verdict, session: LoginSessionRecord) -> Grant:
    return access.grant(
        verdict,
        session=session,
        life=timedelta(minutes=gateway.settings.grant_minutes),
        leeway=timedelta(minutes=gateway.settings.clock_drift_minutes),
    )

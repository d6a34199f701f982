"""Tokens for programs people log in with: one socket's, or the API's.

Every way to log a program in (authorization code, device code, the original clients' redirect) ends
in ``issue``, so every one of them runs the same decision.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from idp_gateway.access import Asked, admits, authorize, grant, identity_of
from idp_gateway.callers import standing_session
from idp_gateway.composition import Gateway
from idp_gateway.errors import EmailTaken, InvalidInput, NotFound
from idp_gateway.origins import Origin
from idp_gateway.records import AccountRecord, LoginSessionRecord, SocketRecord
from idp_gateway.rules import GuardedSocket
from idp_gateway.targets import TargetRefused, parse_authority
from idp_gateway.tokens import subject_of
from policy.types import Action, Identity, IPAddress, Reason

_SCHEME = "https://"
_API = "api"


class ResourceRefused(InvalidInput):
    """The ``resource`` names nothing we give tokens for (RFC 8707 §2: ``invalid_target``)."""

    reason = "invalid-target"


@dataclass(frozen=True, slots=True)
class Audience:
    """What a token is for: a socket by its name, or the API (no name)."""

    dns_name: str | None = None

    @classmethod
    def parse(cls, *, resource: str, scope: str = "") -> Self:
        """Read ``resource`` (``https://<dns name>``) and ``scope`` (``api``); one of them, or none
        for the API.

        Raises:
            ResourceRefused: both, or neither in a form we know.
        """
        if not resource:
            if scope not in {"", _API}:
                raise ResourceRefused("The scope must be api.", field="scope")
            return cls()
        host = resource.removeprefix(_SCHEME).removesuffix("/")
        if scope or not resource.startswith(_SCHEME):
            raise ResourceRefused("The resource must be https://<name of a socket>.")
        try:
            return cls(parse_authority(host))
        except TargetRefused as error:
            raise ResourceRefused("The resource must be https://<name of a socket>.") from error

    def __str__(self) -> str:
        return _API if self.dns_name is None else f"{_SCHEME}{self.dns_name}"

    @classmethod
    def of(cls, text: str) -> Self:
        """The inverse of ``str``."""
        return cls() if text == _API else cls(text.removeprefix(_SCHEME))

    @property
    def wish(self) -> str:
        """What a program asks for, in words for the consent page."""
        if self.dns_name is None:
            return "manage your sockets"
        return f"connect to {self.dns_name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token for a program."""

    token: str
    expires_at: datetime


def find_socket(gateway: Gateway, audience: Audience) -> SocketRecord | None:
    """The audience's socket; ``None`` for the API.

    Raises:
        NotFound: no socket has that name.
    """
    if audience.dns_name is None:
        return None
    socket = gateway.store.find_socket_by_dns_name(audience.dns_name)
    if socket is None:
        raise NotFound("There is no such service.", reason=Reason.SOCKET_UNKNOWN)
    return socket


def issue(
    gateway: Gateway, audience: Audience, *, session_id: str, source_ip: IPAddress
) -> IssuedToken:
    """Decide, and make the token.

    Raises:
        TokenInvalid: the login session is over.
        AccessDenied: the policy does not admit the person; carries the decision's id.
        NotFound: the socket is gone.
    """
    session = standing_session(gateway, session_id)
    socket = find_socket(gateway, audience)
    if socket is None:
        return _api_token(gateway, session)
    return _client_token(gateway, session, socket, source_ip)


def program_question(
    door: GuardedSocket, identity: Identity, origin: Origin, *, at: datetime
) -> Asked:
    """What a program's login asks of a socket: TLS, or SSH if it is that only they may use.

    It counts as having proved its key: the token opens nothing, and whoever asks for a certificate
    with it is decided on anew, with the proof that then comes or does not.
    """
    asked = [
        Asked(identity=identity, action=action, origin=origin, client_proof=True)
        for action in (Action.TLS, Action.SSH)
    ]
    return next((one for one in asked if admits(door, one, at=at)), asked[0])


def _client_token(
    gateway: Gateway, session: LoginSessionRecord, socket: SocketRecord, source_ip: IPAddress
) -> IssuedToken:
    door = gateway.rules.guarded(socket)
    verdict = authorize(
        gateway.store,
        gateway.clock,
        door,
        program_question(
            door,
            identity_of(session),
            gateway.origins.of(source_ip),
            at=gateway.clock(),
        ),
        denials=gateway.denials,
    )
    leave = grant(verdict, session=session)
    token = gateway.tokens.client_token(
        subject=subject_of(leave),
        email=str(leave.email),
        dns_name=socket.dns_name,
        port=socket.port or gateway.settings.https_port,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    claims = gateway.tokens.verify_client_token(token, dns_name=socket.dns_name)
    return IssuedToken(token=token, expires_at=claims.expires_at)


def _api_token(gateway: Gateway, session: LoginSessionRecord) -> IssuedToken:
    account = account_of(gateway, identity_of(session))
    token = gateway.tokens.api_token(
        account_id=account.account_id,
        email=account.email,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    return IssuedToken(token=token, expires_at=gateway.tokens.verify_api_token(token).expires_at)


def account_of(gateway: Gateway, identity: Identity) -> AccountRecord:
    """The account somebody owns sockets with; made when they first need one.

    Keyed by (issuer, subject). An account that has the same e-mail is somebody else's: whoever
    controls an address at one provider has proved nothing about an account made elsewhere.

    Raises:
        NotFound: a local account that was removed.
    """
    account = find_account_of(gateway, identity)
    if account is None and identity.issuer == gateway.settings.base_url:
        raise NotFound("This account is gone.", reason="account-unknown")
    return account or _new_account(gateway, identity)


def find_account_of(gateway: Gateway, identity: Identity) -> AccountRecord | None:
    """As ``account_of``, for somebody who may have none."""
    store = gateway.store
    if identity.issuer == gateway.settings.base_url:
        return store.find_account(identity.subject)
    known = store.find_identity(identity.issuer, identity.subject)
    if known is None or known.account_id is None:
        return None
    return store.find_account(known.account_id)


def _new_account(gateway: Gateway, identity: Identity) -> AccountRecord:
    now = gateway.clock()
    key = hashlib.sha256(f"{identity.issuer}\0{identity.subject}".encode()).hexdigest()
    # RFC 6761 §6.4: nobody can have an address below .invalid.
    placeholder = f"{key[:32]}@{identity_label(identity)}.invalid"
    wanted = [str(identity.email)] if identity.email is not None else []
    account_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{identity.issuer}#{key}"))
    for email in (*wanted, placeholder):
        account = AccountRecord(
            account_id=account_id,
            email=email,
            email_verified=False,
            name=identity.name,
            password_hash="",
            ssh_key="",
            created_at=now,
        )
        try:
            gateway.store.add_account(account)
        except EmailTaken:
            # Somebody else has the address, or another request has just made this account.
            if (existing := gateway.store.find_account(account_id)) is None:
                continue
            account = existing
        gateway.store.upsert_identity(
            issuer=identity.issuer,
            subject=identity.subject,
            email=wanted[0] if wanted else None,
            name=identity.name,
            account_id=account_id,
            now=now,
        )
        return account
    raise EmailTaken("This account could not be made.")


def identity_label(identity: Identity) -> str:
    """One DNS label for an identity's issuer."""
    return f"i{hashlib.sha256(identity.issuer.encode()).hexdigest()[:12]}"

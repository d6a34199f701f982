"""People at ``bench.issuance_gateway``, logged in with ``mysocketctl``; its owner is one."""

import uuid
from contextlib import closing
from pathlib import Path

from bench.issuance_gateway import IssuingGateway
from idp_gateway import sessions
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.providers.local import local_identity
from idp_gateway.records import AccountRecord
from idp_gateway.tokens import API_TOKEN_LIFE

OWNER = "owner@example.com"


def token_of(issuing: IssuingGateway, email: str) -> str:
    """An API token of somebody whose address an operator vouches for; their account if need be."""
    with closing(build_gateway(issuing.settings)) as gateway:
        account = gateway.store.find_account_by_email(email) or _new_account(gateway, email)
        now = gateway.clock()
        identity = local_identity(account, issuer=gateway.settings.base_url, now=now)
        _, session = sessions.begin_session(gateway.store, identity, life=API_TOKEN_LIFE, now=now)
        return gateway.tokens.api_token(
            account_id=account.account_id,
            email=account.email,
            session_id=session.session_id,
            expires_at=session.expires_at,
        )


def _new_account(gateway: Gateway, email: str) -> AccountRecord:
    account = AccountRecord(
        account_id=str(uuid.uuid4()),
        email=email,
        email_verified=True,
        name=email.partition("@")[0],
        password_hash="",
        ssh_key="",
        created_at=gateway.clock(),
    )
    gateway.store.add_account(account)
    return account


def logged_in_home(issuing: IssuingGateway, home: Path, email: str = OWNER) -> dict[str, str]:
    """What the environment of somebody's commands has; the token is in ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    (home / ".mysocketio_token").write_text(token_of(issuing, email) + "\n")
    return {"HOME": str(home), "MYSOCKET_API": f"http://127.0.0.1:{issuing.port}"}

"""The owner of the socket of ``bench.issuance_gateway``, logged in with ``mysocketctl``."""

from contextlib import closing
from pathlib import Path

from bench.issuance_gateway import IssuingGateway
from idp_gateway import sessions
from idp_gateway.composition import build_gateway
from idp_gateway.providers.local import local_identity
from idp_gateway.tokens import API_TOKEN_LIFE


def owner_token(issuing: IssuingGateway) -> str:
    """An API token of the socket's owner."""
    with closing(build_gateway(issuing.settings)) as gateway:
        account = gateway.store.find_account_by_email("owner@example.com")
        assert account is not None
        now = gateway.clock()
        identity = local_identity(account, issuer=gateway.settings.base_url, now=now)
        _, session = sessions.begin_session(gateway.store, identity, life=API_TOKEN_LIFE, now=now)
        return gateway.tokens.api_token(
            account_id=account.account_id,
            email=account.email,
            session_id=session.session_id,
            expires_at=session.expires_at,
        )


def logged_in_home(issuing: IssuingGateway, home: Path) -> dict[str, str]:
    """What the environment of the owner's commands has; the token is in ``home``."""
    home.mkdir(exist_ok=True)
    (home / ".mysocketio_token").write_text(owner_token(issuing) + "\n")
    return {"HOME": str(home), "MYSOCKET_API": f"http://127.0.0.1:{issuing.port}"}

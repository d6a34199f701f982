"""People who use the API, and what they hold."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from idp_gateway import sessions
from idp_gateway.composition import Gateway
from idp_gateway.providers.local import local_identity
from idp_gateway.records import AccountRecord, LoginSessionRecord
from idp_gateway.settings import Settings
from idp_gateway.tokens import API_TOKEN_LIFE
from policy.addresses import EmailAddress
from policy.types import Assurance, Identity
from tests.idp_gateway.conftest import BEGINNING
from tests.support.postgres import Postgres, running_postgres
from tests.support.ready_database import new_postgres, place_state
from tests.support.subjects import ec_key, public_line

FIELDS = {
    "protected_socket": False,
    "protected_username": "",
    "protected_password": "",
    "cloud_authentication_enabled": False,
    "cloud_authentication_email_allowed_addressses": [],
    "cloud_authentication_email_allowed_domains": [],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with an account and an API token."""

    account: AccountRecord
    session: LoginSessionRecord
    token: str
    client: httpx.Client

    def call(self, method: str, path: str, **extra: Any) -> httpx.Response:
        """One request of theirs."""
        headers = {"x-access-token": self.token} | extra.pop("headers", {})
        return self.client.request(method, path, headers=headers, **extra)

    def socket(self, **fields: Any) -> dict[str, Any]:
        """A new socket of theirs."""
        reply = self.call("POST", "/socket", json={"name": "s", "socket_type": "http"} | fields)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found


both_databases = pytest.mark.parametrize("settings", ["sqlite", "postgresql"], indirect=True)

PersonMaker = Callable[[], Person]
ClientTokenMaker = Callable[..., str]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """SQLite, unless the test is marked with ``both_databases``."""
    state = tmp_path / "state"
    if getattr(request, "param", "sqlite") == "sqlite":
        place_state(state, BEGINNING)
        return Settings(state_dir=state)
    server: Postgres = request.getfixturevalue("postgres")
    return Settings(state_dir=state, database_url=new_postgres(server))


@pytest.fixture
def new_person(gateway: Gateway, api: httpx.Client) -> PersonMaker:
    """Makes people without the cost of a password hash."""
    numbers = itertools.count(1)

    def make() -> Person:
        number, now = next(numbers), gateway.clock()
        account = AccountRecord(
            account_id=f"00000000-0000-4000-8000-{number:012d}",
            email=f"owner{number}@lab.test",
            email_verified=False,
            name=f"Owner {number}",
            password_hash="",
            ssh_key="",
            created_at=now,
        )
        gateway.store.add_account(account)
        identity = local_identity(account, issuer=gateway.settings.base_url, now=now)
        _, session = sessions.begin_session(gateway.store, identity, life=API_TOKEN_LIFE, now=now)
        token = gateway.tokens.api_token(
            account_id=account.account_id,
            email=account.email,
            session_id=session.session_id,
            expires_at=session.expires_at,
        )
        return Person(account=account, session=session, token=token, client=api)

    return make


@pytest.fixture
def owner(new_person: PersonMaker) -> Person:
    return new_person()


@pytest.fixture
def stranger(new_person: PersonMaker, owner: Person) -> Person:
    """Somebody else with an account."""
    return new_person()


@pytest.fixture
def client_token(gateway: Gateway) -> ClientTokenMaker:
    """Makes the token a browser login ends with, for somebody an OpenID provider vouched for."""

    def make(
        dns_name: str, *, email: str | None = "alice@lab.test", port: int = 20000, hours: int = 8
    ) -> str:
        now = gateway.clock()
        identity = Identity(
            issuer="https://idp.lab.test",
            subject=f"subject of {email}",
            email=EmailAddress.parse(email) if email else None,
            name="Alice",
            assurance=Assurance.PROVIDER_VERIFIED,
            authenticated_at=now,
        )
        _, session = sessions.begin_session(gateway.store, identity, life=API_TOKEN_LIFE, now=now)
        return gateway.tokens.client_token(
            subject=identity.subject,
            email=email or "",
            dns_name=dns_name,
            port=port,
            session_id=session.session_id,
            expires_at=session.expires_at,
        )

    return make


@pytest.fixture(scope="session")
def ssh_key() -> str:
    """One public key line of the kind the original Go client makes."""
    return public_line(ec_key())


@pytest.fixture
def tls_socket(owner: Person) -> dict[str, Any]:
    """A TLS socket that admits alice@lab.test."""
    return owner.socket(
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=["alice@lab.test"],
    )


Verified = Callable[..., Person]


@pytest.fixture
def verified(gateway: Gateway, api: httpx.Client) -> Verified:
    """Makes people with accounts an operator vouched for."""

    def make(email: str, **changes: Any) -> Person:
        now = gateway.clock()
        account = gateway.store.find_account_by_email(email)
        if account is None:
            account = AccountRecord(
                account_id=f"00000000-0000-4000-9000-{abs(hash(email)) % 10**12:012d}",
                email=email,
                email_verified=True,
                name=email.partition("@")[0],
                password_hash="",
                ssh_key="",
                created_at=now,
            )
            gateway.store.add_account(account)
        identity = local_identity(account, issuer=gateway.settings.base_url, now=now)
        identity = replace(identity, **changes)
        _, session = sessions.begin_session(gateway.store, identity, life=API_TOKEN_LIFE, now=now)
        token = gateway.tokens.api_token(
            account_id=account.account_id,
            email=account.email,
            session_id=session.session_id,
            expires_at=session.expires_at,
        )
        return Person(account=account, session=session, token=token, client=api)

    return make


@pytest.fixture
def ann(verified: Verified) -> Person:
    return verified("ann@lab.test")


@pytest.fixture
def wiki(owner: Person) -> dict[str, Any]:
    return owner.socket(cloud_authentication_enabled=True)

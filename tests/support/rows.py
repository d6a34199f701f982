"""Rows to fill a store with; every field a test does not care about has a plain value."""

import dataclasses
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

from idp_gateway.records import (
    AccountRecord,
    CertificateKind,
    CertificateRecord,
    LoginSessionRecord,
    SocketRecord,
)
from idp_gateway.store import Store
from policy.types import Assurance, SocketType

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PORTS = range(20000, 20010)

_numbers = itertools.count(1)


def account(**changes: Any) -> AccountRecord:
    number = next(_numbers)
    plain = AccountRecord(
        account_id=f"00000000-0000-4000-8000-{number:012}",
        email=f"owner{number}@corp.test",
        email_verified=True,
        name="Owner",
        password_hash="argon2",
        ssh_key="",
        created_at=NOW,
    )
    return dataclasses.replace(plain, **changes)


def socket(owner: AccountRecord, **changes: Any) -> SocketRecord:
    number = next(_numbers)
    plain = SocketRecord(
        socket_id=f"socket-{number}",
        account_id=owner.account_id,
        dns_name=f"calm-otter-{number}.edge.test",
        name="web",
        socket_type=SocketType.HTTP,
        ssh_ca_public="ssh-ed25519 AAAA",
        created_at=NOW,
    )
    return dataclasses.replace(plain, **changes)


def login_session(**changes: Any) -> LoginSessionRecord:
    number = next(_numbers)
    plain = LoginSessionRecord(
        session_id=f"session-{number}",
        issuer="https://idp.test",
        subject=f"subject-{number}",
        email="ann@corp.test",
        name="Ann",
        assurance=Assurance.PROVIDER_VERIFIED,
        provider="okta",
        groups=("okta:ops", "okta:staff"),
        authenticated_at=NOW,
        expires_at=NOW + timedelta(hours=12),
    )
    return dataclasses.replace(plain, **changes)


def certificate(**changes: Any) -> CertificateRecord:
    number = next(_numbers)
    plain = CertificateRecord(
        serial=f"{number:x}",
        kind=CertificateKind.X509_CLIENT,
        ca_key_id="ca",
        subject="ann@corp.test",
        public_key_fingerprint="SHA256:x",
        not_before=NOW,
        not_after=NOW + timedelta(minutes=5),
        issued_at=NOW,
        body="PEM",
    )
    return dataclasses.replace(plain, **changes)


def owner_with_socket(store: Store, **changes: Any) -> tuple[AccountRecord, SocketRecord]:
    owner = account()
    store.add_account(owner)
    return owner, store.add_socket(socket(owner, **changes), ports=PORTS)


def race(calls: list[Callable[[], Any]]) -> list[Any]:
    """Start all calls at one moment; their results, an exception being one too."""
    barrier = Barrier(len(calls))

    def one(call: Callable[[], Any]) -> Any:
        barrier.wait(10)
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - what was raised is the result
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(one, calls))


def vouch(store: Store, account_id: str, now: datetime) -> AccountRecord:
    """An operator vouches for the account's address, and its password stays."""
    known = store.find_account(account_id)
    assert known is not None
    return store.hand_over_account(
        account_id, password_hash=known.password_hash, name=None, issuer="", now=now
    )

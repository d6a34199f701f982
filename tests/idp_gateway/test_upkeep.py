"""What is forgotten and what is renewed while a gateway runs, for months if need be."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from ca.formats.merkle import verify_consistency
from idp_gateway import upkeep
from idp_gateway.ca_generations import RENEW_BEFORE, X509_ISSUING
from idp_gateway.composition import Gateway
from idp_gateway.records import DecisionRecord
from idp_gateway.store.log import CHECKPOINTS
from policy.types import Action, Effect
from tests.idp_gateway.conftest import FixedClock
from tests.idp_gateway.test_authority import csr
from tests.support import rows


def decided(gateway: Gateway, decision_id: str) -> None:
    gateway.store.record_decision(
        DecisionRecord(
            decision_id=decision_id,
            at=gateway.clock(),
            effect=Effect.DENY,
            reasons=("no-policy",),
            issuer="https://idp.test",
            subject="s",
            email=None,
            socket_id="socket",
            action=Action.HTTP,
            source_ip="192.0.2.1",
        )
    )


def test_of_checkpoints_the_newest_is_enough(gateway: Gateway, clock: FixedClock) -> None:
    first = gateway.authority.issue_server_certificate(csr())
    old = gateway.log.key.open(first.proof.checkpoint)
    gateway.authority.issue_server_certificate(csr())
    note = gateway.log.checkpoint()
    before = count(gateway)
    clock.advance(days=2)
    upkeep.tend(gateway)
    assert before > 1
    assert count(gateway) == 1
    assert gateway.log.checkpoint() == note
    path = gateway.log.consistency(old.size, old.size + 1)
    newest = gateway.log.key.open(note)
    assert verify_consistency(
        old=old.size, old_root=old.root, new=newest.size, new_root=newest.root, path=path
    )


def count(gateway: Gateway) -> int:
    with gateway.store.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(CHECKPOINTS)).scalar_one()


def test_the_audit_is_kept_as_long_as_the_settings_say(gateway: Gateway, clock: FixedClock) -> None:
    store, begun = gateway.store, clock()
    decided(gateway, "old")
    store.record_certificate(
        rows.certificate(serial="01", issued_at=begun, not_after=begun + timedelta(minutes=5))
    )
    store.record_certificate(
        rows.certificate(serial="02", issued_at=begun, not_after=begun + timedelta(days=900))
    )
    clock.advance(days=365)
    upkeep.tend(gateway)
    assert store.find_decision("old") is not None
    decided(gateway, "new")
    clock.advance(seconds=1)
    upkeep.tend(gateway)
    assert store.find_decision("old") is None
    assert store.find_decision("new") is not None
    assert store.find_certificate("01") is not None  # it was good until five minutes later
    clock.advance(minutes=5)
    upkeep.tend(gateway)
    assert store.find_certificate("01") is None
    assert store.find_certificate("02") is not None


def test_an_audit_may_be_kept_for_ever(gateway: Gateway, clock: FixedClock) -> None:
    kept = gateway.settings.model_copy(update={"audit_days": 0})
    object.__setattr__(gateway, "settings", kept)
    decided(gateway, "old")
    clock.advance(days=36500)
    upkeep.tend(gateway)
    assert gateway.store.find_decision("old") is not None


async def next_trust(lines: AsyncIterator[bytes]) -> tuple[int, dict[str, Any]]:
    """The revision and trust of the next line that tells of one."""
    async with asyncio.timeout(10):
        async for line in lines:
            told = json.loads(line)
            trust = told["state"]["trust"] if told["type"] == "snapshot" else told.get("trust")
            if trust:
                return told["revision"], trust
    raise AssertionError("the feed ended")


async def test_a_gateway_that_runs_for_years_follows_its_issuing_ca_with_a_new_one(
    gateway: Gateway, clock: FixedClock
) -> None:
    lines = gateway.feed.stream(0, "e1")
    revision, trust = await next_trust(lines)
    gateway.feed.serving.acknowledge("e1", revision)
    upkeep.tend(gateway)
    old = gateway.authority.client_cas
    assert old == trust["client_ca"]
    clock.advance(days=3 * 365 - RENEW_BEFORE.days)
    gateway.feed.serving.acknowledge("e1", revision)

    upkeep.tend(gateway)
    revision, trust = await next_trust(lines)
    assert trust["client_ca"] == gateway.authority.client_cas
    assert trust["client_ca"].startswith(old)
    assert trust["client_ca"] != old
    assert issuer_of(gateway) in old, "the edge does not trust the new one yet"

    gateway.feed.serving.acknowledge("e1", revision)
    upkeep.tend(gateway)
    assert issuer_of(gateway) not in old
    assert issuer_of(gateway) in trust["client_ca"]

    await next_trust(lines)
    clock.advance(minutes=20)
    upkeep.tend(gateway)
    _, trust = await next_trust(lines)
    assert old not in trust["client_ca"]
    assert issuer_of(gateway) in trust["client_ca"]
    assert not gateway.rotation.standing(X509_ISSUING).under_way


def issuer_of(gateway: Gateway) -> str:
    """PEM of the CA that signs now."""
    chain = gateway.authority.issue_server_certificate(csr()).certificate.chain_pem.decode()
    mark = "-----BEGIN CERTIFICATE-----"
    return mark + chain.split(mark)[2]


def test_what_fails_keeps_nothing_else_from_being_done(
    gateway: Gateway,
    clock: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    decided(gateway, "old")
    monkeypatch.setattr(gateway.store, "delete_expired", lambda _now: 1 / 0)
    clock.advance(days=366)
    upkeep.tend(gateway)
    assert gateway.store.find_decision("old") is None
    assert "upkeep failed" in caplog.text

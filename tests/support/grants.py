"""Grants for tests of what is made from one."""

import dataclasses
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any

from policy.addresses import EmailAddress
from policy.types import Action, Assurance, Grant, Identity

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def grant(**changes: Any) -> Grant:
    """Ann's grant for one HTTP socket, five minutes either way of ``NOW``."""
    email = EmailAddress.parse("ann@corp.test")
    plain = Grant(
        grant_id="grant-1",
        decision_id="decision-1",
        identity=Identity(
            issuer="https://idp.test",
            subject="ann",
            email=email,
            name="Ann Ünïcode",
            assurance=Assurance.PROVIDER_VERIFIED,
            authenticated_at=NOW - timedelta(hours=1),
        ),
        email=email,
        socket_id="socket-1",
        dns_name="calm-otter-1.edge.test",
        epoch=3,
        action=Action.HTTP,
        not_before=NOW - timedelta(minutes=5),
        not_after=NOW + timedelta(minutes=5),
        session_id="session-1",
        source_ip=IPv4Address("192.0.2.1"),
    )
    return dataclasses.replace(plain, **changes)

"""What is remembered of stored documents: by how much there is of it, not by their number."""

import json
from datetime import UTC, datetime

import pytest

from idp_gateway.policy_documents import Remembered, policy_in
from idp_gateway.policy_records import PolicyRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_is_large_pushes_out_what_was_used_longest_ago() -> None:
    made: list[str] = []
    memory: Remembered[str] = Remembered(10)

    def get(key: str, weight: int) -> str:
        def make() -> tuple[str, int]:
            made.append(key)
            return key.upper(), weight

        return memory.get(key, make)

    for key in ("a", "b", "a", "b"):
        assert get(key, 4) == key.upper()
    assert made == ["a", "b"]
    get("a", 4)
    get("large", 4)
    get("a", 4)
    assert made == ["a", "b", "large"]
    get("b", 4)
    assert made == ["a", "b", "large", "b"]
    get("vast", 99)
    get("vast", 99)
    get("a", 4)
    assert made == ["a", "b", "large", "b", "vast", "a"]


def test_what_cannot_be_made_is_not_remembered() -> None:
    memory: Remembered[str] = Remembered(10)

    def fail() -> tuple[str, int]:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            memory.get("a", fail)
    assert memory.get("a", lambda: ("made", 1)) == "made"


def test_a_policy_in_force_is_read_once() -> None:
    record = PolicyRecord(
        policy_id="p",
        account_id="a",
        name="Plant",
        description="",
        document=json.dumps({"version": "v2", "action": ["http"]}),
        org_wide=False,
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    assert policy_in(record) is policy_in(record)

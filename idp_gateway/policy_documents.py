"""Documents as they are stored, read once into what is decided on."""

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import ip_network
from typing import Any

from idp_gateway.policy_records import PolicyRecord, PrefixListRecord
from policy.document import PolicyDocument
from policy.types import DenyRule, IPNetwork, Policy

_REMEMBERED_POLICIES = 16_384
_REMEMBERED_LISTS = 256


def stored_form(document: PolicyDocument) -> str:
    """Canonical JSON: the same document always has the same text."""
    return json.dumps(document.to_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def stored_json(text: str) -> Mapping[str, Any]:
    """A stored document as clients are shown it."""
    value: Mapping[str, Any] = json.loads(text)
    return value


def policy_in(record: PolicyRecord) -> Policy:
    """What a policy in force is decided by."""
    return _policy(record.policy_id, record.name, record.document)


@lru_cache(_REMEMBERED_POLICIES)
def _policy(policy_id: str, name: str, document: str) -> Policy:
    return read_stored(document).policy(policy_id, name)


def read_stored(document: str) -> PolicyDocument:
    """A document out of the store.

    Raises:
        policy.errors.DocumentError: it was stored by a later version, or is damaged.
    """
    return PolicyDocument.from_json(json.loads(document))


def meaning(document: PolicyDocument) -> tuple[Policy, frozenset[DenyRule]]:
    """What a document says, without names: equal for documents that decide alike."""
    policy = document.policy("")
    denies = frozenset(replace(rule, name="") for rule in policy.denies)
    return replace(policy, denies=()), denies


def lists_named(document: PolicyDocument) -> tuple[str, ...]:
    """The account's lists a document looks at; those it brings itself are not among them."""
    policy = document.policy("")
    places = [policy.where, *(rule.where for rule in policy.denies if rule.where is not None)]
    return tuple(sorted({name for where in places for name in where.prefix_lists}))


def networks_in(record: PrefixListRecord) -> tuple[IPNetwork, ...]:
    """The addresses of a list."""
    return _networks(record.prefixes)


@lru_cache(_REMEMBERED_LISTS)
def _networks(prefixes: tuple[str, ...]) -> tuple[IPNetwork, ...]:
    return tuple(map(ip_network, prefixes))

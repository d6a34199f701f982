"""Long lists and documents through the whole product, and what is too long for anybody."""

import json
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from tests.support.product import Person

PREFIXES = 20_000
"""As many as a list may have."""
DOCUMENT = 64 * 1024
"""Bytes a document may have."""
TOO_LONG = {"/prefix-lists/more": 12 * 1024 * 1024, "/policies": 512 * 1024, "/socket": 64 * 1024}


def range_file(path: Path, count: int) -> Path:
    """As a provider publishes its addresses, each with much beside it."""
    first = int(IPv4Address("198.18.0.0"))
    prefixes = [
        {
            "ip_prefix": f"{IPv4Address(first + 2 * number)}/32",
            "region": "eu-west-1",
            "service": "AMAZON",
            "network_border_group": "eu-west-1",
        }
        for number in range(count)
    ]
    path.write_text(json.dumps({"syncToken": "1", "prefixes": prefixes, "ipv6_prefixes": []}))
    return path


def test_a_published_file_of_as_many_addresses_as_fit_is_imported(owner: Person) -> None:
    file = range_file(owner.home / "ranges.json", PREFIXES)
    assert file.stat().st_size > 2_000_000
    owner.ctl("prefix-list", "import", "cloud", str(file))
    (shown,) = json.loads(owner.ctl("prefix-list", "ls", "--json").stdout)
    assert (shown["name"], shown["summary"]["count"]) == ("cloud", PREFIXES)


def test_a_document_of_nearly_all_it_may_have_is_stored_and_shown(owner: Person) -> None:
    head = "version: v2\naction: [http]\ncondition:\n  who:\n    email:\n"
    lines = [head]
    while sum(map(len, lines)) < DOCUMENT - 100:
        lines.append(f'    - "person{len(lines)}@example.com" # "known"\n')
    file = owner.home / "long.yaml"
    file.write_text("".join(lines))
    owner.ctl("policy", "test", str(file))
    owner.ctl("policy", "create", "--name", "long", str(file))
    shown: dict[str, Any] = json.loads(owner.ctl("policy", "show", "long", "--json").stdout)
    assert len(shown["policy_data"]["condition"]["who"]["email"]) == len(lines) - 1
    owner.ctl("policy", "diff", str(file), "--policy", "long")


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "not announced"])
@pytest.mark.parametrize(("path", "most"), TOO_LONG.items())
def test_what_is_longer_is_refused(owner: Person, path: str, most: int, announced: bool) -> None:
    content = b'{"text": "' + b"x" * most + b'"}'
    method = "PUT" if path.startswith("/prefix-lists/") else "POST"
    with owner.api as api:
        headers = {"content-type": "application/json"}
        body = content if announced else iter([content[:100_000], content[100_000:]])
        reply = api.request(method, path, content=body, headers=headers)
    assert (reply.status_code, reply.json()["reason"]) == (413, "body-too-large")

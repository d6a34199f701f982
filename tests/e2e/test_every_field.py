"""Nonsense for every field the API describes: a problem that names it, and no row more."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from idp_gateway.app import application
from tests.support.product import Person, Product
from tests.support.row_counts import row_counts

OVERSIZE, CONTROL = "x" * 20_000, "a\x1b[2Jb"
ANY_TEXT = {"password"}
"""Is hashed and never shown, so that it may hold anything."""
NAMES_ITS_FIELD = ("key-", "csr-", "policy-document-")
"""Reasons that speak of the one thing the call takes."""
WRONG = {
    "string": [7, 1.5, True, [], {}, OVERSIZE, CONTROL],
    "boolean": ["true", 1, 0, "", [], {}],
    "number": ["seven", -1, True, [], {}],
    "integer": ["seven", 1.5, -1, 10**30, [], {}],
    "array": ["x", 7, True, {}, [7], [CONTROL], [OVERSIZE], ["x@example.com"] * 5_000],
    "object": ["x", 7, True, [], {"a": 7}, {"a": OVERSIZE}, {"a": CONTROL}, {"": "x"}],
}
SPECIFICATION = application().openapi()
DOCUMENT = {"version": "v1", "action": ["http"], "condition": {"who": {"email": ["a@b.test"]}}}
NOBODYS = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One member of one call's body, or one parameter of its query."""

    method: str
    path: str
    place: str
    """``json``, ``form`` or ``query``."""
    name: str
    kind: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.place} {self.name}"


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema behind a reference, and the first of several that is not null."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return resolved(SPECIFICATION["components"]["schemas"][name])
    several = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return resolved(several[0]) if several else schema


def fields_of_body(method: str, path: str, call: dict[str, Any]) -> list[Field]:
    found = []
    for media_type, content in call.get("requestBody", {}).get("content", {}).items():
        place = "json" if media_type == "application/json" else "form"
        members = resolved(content["schema"])["properties"]
        found += [
            Field(method=method, path=path, place=place, name=name, kind=resolved(member)["type"])
            for name, member in members.items()
        ]
    return found


def fields() -> list[Field]:
    found = []
    for path, calls in SPECIFICATION["paths"].items():
        for method, call in calls.items():
            found += fields_of_body(method, path, call)
            found += [
                Field(method=method, path=path, place="query", name=p["name"], kind="string")
                for p in call.get("parameters", ())
                if p["in"] == "query"
            ]
    return found


@pytest.fixture(scope="module")
def product_environment() -> dict[str, str]:
    """Accounts are open to all, so that nothing is refused for that alone."""
    return {"MYSOCKET_SIGNUP_OPEN": "true"}


@pytest.fixture(scope="module")
def target(owner: Person) -> dict[str, Any]:
    made = owner.create_socket(
        name="target",
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[owner.email],
    )
    with owner.api as api:
        policy = api.post("/policies", json={"name": "target", "policy_data": DOCUMENT})
    assert policy.status_code == 200, policy.text
    return made | {"policy_id": policy.json()["id"]}


@pytest.fixture(scope="module")
def client_token(owner: Person, target: dict[str, Any]) -> str:
    """What the calls for certificates want to see."""
    owner.ctl("client", "login", "--host", target["dnsname"])
    return (owner.home / f".mysocketio_token_{target['dnsname']}").read_text().strip()


@pytest.fixture(scope="module")
def sensible(target: dict[str, Any]) -> dict[str, Any]:
    """Bodies that only lack the field in question."""
    key = "ssh-ed25519 AAAA"
    person = {"name": "Probe", "email": "probe@example.com", "password": "correct horse battery"}
    return {
        "/user": person | {"sshkey": ""},
        "/login": {"email": "probe@example.com", "password": "correct horse battery"},
        "/socket": {"name": "probe"},
        "/connect": {"name": "probe"},
        "/socket/{socket_id}": {"name": "target"},
        "/signkey": {"ssh_public_key": key},
        "/ssh": {"ssh_public_key": key},
        "/host": {"name": "probe", "host_key": key, "at": 1, "proof": "x"},
        "/hosts/sync": {
            "host_id": target["socket_id"],
            "nonce": "0" * 32,
            "at": 1,
            "number": 0,
            "trusted_cas": [],
            "signature": "x",
        },
        "/revocation": {"scope": "person", "value": "probe@example.com"},
        "/policies": {"name": "probe", "policy_data": DOCUMENT},
        "/policies/explain": {"socket": target["dnsname"], "as": "probe@example.com"},
        "/policies/diff": {"policy_data": DOCUMENT, "socket_ids": [target["socket_id"]]},
        "/rollback": {"version": 1},
        "/policy/{policy_id}/socket": {"actions": []},
        "/socket/{socket_id}/policy": {"actions": []},
        "/prefix-lists/{name}": {"prefixes": ["192.0.2.0/24"]},
        "/access-requests": {"socket": target["dnsname"], "reason": "because"},
        "/guests": {
            "socket_id": target["socket_id"],
            "email": "probe@example.com",
            "ends_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        },
        "/internal/report": {"edge_id": "probe", "ssh_host_key": key, "tunnels": []},
        "/internal/feed/ack": {"edge_id": "probe", "revision": 1},
    }


def send(
    field: Field,
    value: Any,
    *,
    client: httpx.Client,
    target: dict[str, Any],
    sensible: dict[str, Any],
) -> httpx.Response:
    """The call with ``value`` in the field and nothing else wrong."""
    path = field.path.format(
        socket_id=target["socket_id"],
        tunnel_id=target["tunnels"][0]["tunnel_id"],
        dns_name=target["dnsname"],
        policy_id=target["policy_id"],
        request_id=NOBODYS,
        guest_id=NOBODYS,
        decision_id=NOBODYS,
        name="probe",
        number=1,
    )
    short = field.path.removeprefix("/api/v1")
    body = next((v for k, v in sensible.items() if short == k), {}) or next(
        (v for k, v in sensible.items() if short.endswith(k)), {}
    )
    if field.place == "json":
        instead = {"policy_text": "policy_data", "text": "prefixes"}.get(field.name)
        rest = {name: one for name, one in body.items() if name != instead}
        content = json.dumps(rest | {field.name: value})
        headers = {"content-type": "application/json"}
        return client.request(field.method, path, content=content, headers=headers)
    if field.place == "form":
        return client.request(field.method, path, data={field.name: value})
    query = {"socket_id": target["socket_id"], "edge": "probe"} | {field.name: value}
    return client.request(field.method, path, params=query)


def values(field: Field) -> list[Any]:
    if field.place == "json":
        wrong = WRONG[field.kind]
        return [v for v in wrong if v != CONTROL] if field.name in ANY_TEXT else wrong
    return [OVERSIZE, CONTROL]


@pytest.mark.parametrize("field", [pytest.param(field, id=str(field)) for field in fields()])
def test_a_field(
    field: Field,
    product: Product,
    owner: Person,
    client_token: str,
    target: dict[str, Any],
    sensible: dict[str, Any],
) -> None:
    if field.path.startswith("/internal"):
        gateway = httpx.HTTPTransport(uds=str(product.state / "run" / "gateway.sock"))
        client: httpx.Client = httpx.Client(transport=gateway, base_url="http://gateway")
        key = (product.state / "secrets" / "edge.key").read_text().strip()
        client.headers["authorization"] = f"Bearer {key}"
    else:
        client = owner.api
        if "mtls-ca" in field.path:
            client.headers["x-access-token"] = client_token
    # Whether somebody may have a certificate is decided, and written down, before it is looked at.
    before = row_counts(product, "decisions")
    with client:
        for value in values(field):
            answer = send(field, value, client=client, target=target, sensible=sensible)

            shown = f"{field}: {str(value)[:60]!r} {answer.status_code} {answer.text[:300]}"
            assert 400 <= answer.status_code < 500, shown
            assert "Traceback" not in answer.text
            assert OVERSIZE not in answer.text
            assert answer.headers["content-type"].startswith("application/"), shown
            reason = answer.json()["reason"]
            named = field.name in answer.text or reason.startswith(NAMES_ITS_FIELD)
            assert named or reason == "body-too-large" or field.place != "json", shown
    assert row_counts(product, "decisions") == before

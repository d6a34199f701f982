"""Policies and sockets made through the API, as the clients make them."""

from typing import Any

from idp_gateway.composition import Gateway
from tests.idp_gateway.api.conftest import Person


def document(*emails: str, **where: Any) -> dict[str, Any]:
    """What the original client sends: every member, empty or not."""
    return {
        "version": "v1",
        "action": ["database", "ssh", "http"],
        "condition": {
            "who": {"email": list(emails), "domain": []},
            "where": {"allowed_ip": [], "country": [], "country_not": []} | where,
            "when": {
                "after": None,
                "before": None,
                "time_of_day_after": "",
                "time_of_day_before": "",
            },
        },
    }


def second_version(*emails: str, **where: Any) -> dict[str, Any]:
    """A document in the format that says more."""
    condition = {"who": {"email": list(emails)}, "where": where}
    return {"version": "v2", "action": ["ssh", "tls", "http"], "condition": condition}


def make(person: Person, name: str = "staff", **fields: Any) -> dict[str, Any]:
    body = {"name": name, "description": "", "policy_data": document("alice@lab.test")} | fields
    reply = person.call("POST", "/policies", json=body)
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def attach(
    person: Person, socket: dict[str, Any], policy: dict[str, Any], verb: str = "add"
) -> Any:
    body = {"actions": [{"action": verb, "id": policy["id"]}]}
    reply = person.call("PUT", f"/socket/{socket['socket_id']}/policy", json=body)
    assert reply.status_code == 200, reply.text
    return reply.json()


def identity_socket(person: Person, **fields: Any) -> dict[str, Any]:
    return person.socket(
        **{"socket_type": "tls", "cloud_authentication_enabled": True, "name": "s"} | fields
    )


def epoch(gateway: Gateway, socket: dict[str, Any]) -> int:
    found = gateway.store.find_socket(socket["socket_id"])
    assert found is not None
    return found.epoch

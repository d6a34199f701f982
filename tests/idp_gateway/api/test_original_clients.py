"""Replays what the original clients send, at both addresses of the API."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.idp_gateway.api.conftest import both_databases

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "original_clients.json").read_text("utf-8")
)
TYPES = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict}


class Replay:
    """One run through all calls; remembers what later calls refer to."""

    def __init__(self, client: httpx.Client, prefix: str, ssh_key: str) -> None:
        self.client = client
        self.prefix = prefix
        self.known = {"ssh_key": ssh_key}
        self.token = ""

    def run(self, call: dict[str, Any]) -> None:
        headers = {"accept": "application/json", "content-type": "application/json"}
        if call.get("auth", True):
            headers["x-access-token"] = self.token
        body = call["raw"] if "raw" in call else json.dumps(self.filled(call["body"]))
        reply = self.client.request(
            call["method"], self.prefix + self.filled(call["path"]), content=body, headers=headers
        )
        assert reply.status_code == call.get("status", 200), f"{call['name']}: {reply.text}"
        if "reply" in call:
            self.check(call, reply.text)

    def check(self, call: dict[str, Any], text: str) -> None:
        if call["reply"] == "text":
            assert text.strip()
            return
        found = json.loads(text)
        if isinstance(call["reply"], str):
            assert type(found) is TYPES[call["reply"]], call["name"]
            return
        for member, kind in call["reply"].items():
            assert type(found[member]) is TYPES[kind], f"{call['name']}: {member}"
        self.remember(call, found)

    def remember(self, call: dict[str, Any], found: dict[str, Any]) -> None:
        self.token = found.get("token", self.token)
        if "user_id" in found:
            self.known["user_id"] = found["user_id"]
        if call.get("keep") == "connected":
            assert len(found["tunnels"]) == 1
            self.known["socket_id"] = found["socket_id"]
        if call.get("keep") == "tunnel":
            self.known["tunnel_id"] = found["tunnel_id"]

    def filled(self, value: Any) -> Any:
        if isinstance(value, str):
            for name, text in self.known.items():
                value = value.replace("{" + name + "}", text)
            return value
        if isinstance(value, dict):
            return {name: self.filled(part) for name, part in value.items()}
        return value


@both_databases
@pytest.mark.parametrize("prefix", ["", "/api/v1"])
def test_every_call_of_the_original_clients_is_answered_as_they_expect(
    api: httpx.Client, prefix: str, ssh_key: str
) -> None:
    replay = Replay(api, prefix, ssh_key)
    for call in VECTORS["calls"]:
        replay.run(call)

"""Policies about countries, held in SSH certificates: they are good from the caller's address."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from idp_gateway.composition import Gateway
from idp_gateway.settings import Settings
from tests.idp_gateway.api.conftest import ClientTokenMaker, Person
from tests.idp_gateway.api.test_certificates import ssh_certificate
from tests.idp_gateway.conftest import BEGINNING
from tests.support.policy_api import make
from tests.support.range_files import countries
from tests.support.ready_database import place_state
from tests.support.subjects import ec_key, public_line


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    known = countries(tmp_path / "c.mmdb", NL="203.0.113.0/24", DE="198.51.100.0/24")
    place_state(tmp_path / "state", BEGINNING)
    return Settings(state_dir=tmp_path / "state", geo_country_file=known)


@pytest.mark.parametrize(
    ("deny", "options"),
    [
        (
            {"where": {"country": ["DE"]}},
            {b"source-address": b"127.0.0.1/32,203.0.113.7/32,::1/128"},
        ),
        ({"who": {"email": ["bob@lab.test"]}}, {}),
    ],
)
def test_a_certificate_is_held_to_its_address_where_countries_count(
    api: httpx.Client,
    gateway: Gateway,
    owner: Person,
    tls_socket: dict[str, Any],
    client_token: ClientTokenMaker,
    deny: dict[str, Any],
    options: dict[bytes, bytes],
) -> None:
    make(owner, org_wide=True, policy_data={"version": "v2", "deny": [deny]})
    name = tls_socket["dnsname"]
    headers = {
        "x-access-token": client_token(name),
        "x-mysocket-edge-key": gateway.edge_key.decode(),
    }
    replies = [
        api.post(
            f"/mtls-ca/socket/{name}/ssh",
            json={"ssh_public_key": public_line(ec_key())},
            headers=headers | {"x-forwarded-for": address},
        )
        for address in ("203.0.113.7", "198.51.100.7")
    ]
    assert replies[0].status_code == 200, replies[0].text
    certificate = ssh_certificate(replies[0].json()["signed_ssh_cert"])
    assert certificate.critical_options == options
    assert replies[1].status_code == (403 if options else 200)

"""``ca check``: an operator learns that a key cannot be had before anybody needs it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from idp_gateway.commands import cli
from tests.support.softhsm import SoftHsm, make_token


def check(config: Path) -> tuple[int, list[dict[str, Any]]]:
    run = CliRunner().invoke(cli, ["ca", "check", "--config", str(config)])
    assert run.exit_code in {0, 1}, run.output
    return run.exit_code, json.loads(run.stdout)


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SoftHsm:
    return make_token(tmp_path / "token", monkeypatch)


@pytest.fixture
def config(tmp_path: Path, token: SoftHsm) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(f"""
        state_dir = "{tmp_path / "state"}"
        [ca]
        host_signer = "pkcs11"
        host_algorithm = "p384"
        pkcs11_module = "{token.module}"
        pkcs11_token = "{token.label}"
        pkcs11_pin_file = "{token.pin_file}"
    """)
    return path


def test_every_key_that_signs_is_tried_and_one_of_each_kind_made(config: Path) -> None:
    status, found = check(config)
    assert status == 0
    places = {(one["ca"], one["state"]): one["signer"] for one in found}
    assert places == {
        ("ssh-host", "active"): "pkcs11",
        ("ssh-tunnel", "active"): "file",
        ("x509-issuing", "active"): "file",
        ("ssh-user", "new"): "file",
        ("ssh-host", "new"): "pkcs11",
        ("ssh-tunnel", "new"): "file",
        ("x509-issuing", "new"): "file",
    }
    assert [one["algorithm"] for one in found if one["state"] == "new"] == [
        "ed25519",
        "p384",
        "ed25519",
        "p256",
    ]


def test_the_key_that_was_made_is_gone_again(config: Path, token: SoftHsm) -> None:
    def objects() -> int:
        return len(list(token.tokens.glob("*/*.object")))

    check(config)
    before = objects()
    check(config)
    assert objects() == before


def test_a_key_that_cannot_be_had_is_named(config: Path, token: SoftHsm) -> None:
    check(config)
    token.tokens.rename(token.tokens.with_name("away"))
    status, found = check(config)
    assert status == 1
    failed = {(one["ca"], one["state"]): one["reason"] for one in found if not one["works"]}
    assert failed == {
        ("ssh-host", "active"): "signer-unavailable",
        ("ssh-host", "new"): "signer-unavailable",
    }

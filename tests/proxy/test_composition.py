"""Putting an edge together: its tunnel backends, our own and those of other distributions."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from proxy.composition import BUILT_IN, build_agent
from proxy.errors import SettingsError
from proxy.settings import load_settings
from proxy.tunnels.choice import choose_backend

MODULE = """
made = []

class Carrier:
    ssh_host_key = ""
    def __init__(self, settings, table, clock):
        self.given = (settings, table, clock)
        made.append(self)
"""


def distribution(folder: Path, name: str, points: str) -> None:
    """An installed distribution, as an installer leaves it on the disk."""
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[mysocket.tunnels]\n{points}\n")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions with one that offers a backend."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "pigeon_post.py").write_text(MODULE)
    distribution(folder, "pigeon_post", "pigeon = pigeon_post:Carrier\nlost = pigeon_post:Nobody")
    monkeypatch.syspath_prepend(folder)
    return folder


async def test_a_backend_of_another_distribution_serves_beside_ours(
    elsewhere: Path, folder: Path
) -> None:
    (folder / "edge.key").write_text("key")
    config = folder / "edge.toml"
    config.write_text(
        f'tunnel_backends = ["pigeon", "ssh"]\nstate_dir = "{folder}/state"\n'
        f'run_dir = "{folder}/run"\nedge_key_file = "{folder}/edge.key"\n'
    )
    settings = load_settings(config)

    def clock() -> datetime:
        return datetime.now(UTC)

    agent, client = build_agent(settings, clock)
    async with client:
        import pigeon_post  # type: ignore[import-not-found] # noqa: PLC0415 - made by this test

        assert [one.given for one in pigeon_post.made] == [(settings, agent.table, clock)]


def test_a_name_that_nobody_offers_is_said_with_those_that_are(elsewhere: Path) -> None:
    with pytest.raises(SettingsError, match=r"no backend raven; there are: lost, pigeon, ssh"):
        choose_backend("raven", BUILT_IN)


def test_our_own_backends_cannot_be_replaced(elsewhere: Path) -> None:
    distribution(elsewhere, "impostor", "ssh = pigeon_post:Carrier")
    assert choose_backend("ssh", BUILT_IN) is BUILT_IN["ssh"]


def test_two_offers_of_one_name_are_refused(elsewhere: Path) -> None:
    distribution(elsewhere, "other", "pigeon = pigeon_post:Carrier")
    with pytest.raises(SettingsError) as refusal:
        choose_backend("pigeon", BUILT_IN)
    assert refusal.value.reason == "ambiguous-tunnel-backend"


def test_an_offer_that_cannot_be_imported_is_one_line(elsewhere: Path) -> None:
    with pytest.raises(SettingsError, match="lost cannot be loaded") as refusal:
        choose_backend("lost", BUILT_IN)
    assert refusal.value.reason == "bad-tunnel-backend"

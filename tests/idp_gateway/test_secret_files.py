"""The two secrets on disk: made once, private, and refused when they are not."""

from pathlib import Path

import pytest

from idp_gateway.errors import SettingsError
from idp_gateway.secret_files import load_or_make_secret
from tests.support.rows import race


def test_a_secret_is_made_once_whoever_starts_first(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "master.key"
    results = race([lambda: load_or_make_secret(path)] * 4)
    assert len(set(results)) == 1
    assert len(results[0]) == 32
    assert load_or_make_secret(path) == results[0]
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["master.key"]


@pytest.mark.parametrize(
    ("content", "mode"),
    [(b"", 0o600), (b"short", 0o600), (b"!" * 43, 0o600), (b"A" * 43, 0o644), (b"A" * 60, 0o600)],
)
def test_what_is_no_secret_stops_the_start(tmp_path: Path, content: bytes, mode: int) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(SettingsError) as caught:
        load_or_make_secret(path)
    assert "\n" not in caught.value.message
    assert path.read_bytes() == content


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"A" * 43)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(SettingsError):
        load_or_make_secret(tmp_path / "link")

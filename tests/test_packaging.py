"""The wheel holds what the product needs, and the client needs no server."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from tests.support.checkout import files_of
from tests.support.documentation import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel that the build backend makes of this tree."""
    directory = tmp_path_factory.mktemp("wheel")
    program = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, directory], cwd=ROOT, check=True)
    (built,) = directory.glob("*.whl")
    return zipfile.ZipFile(built)


@pytest.fixture(scope="module")
def base_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with exactly the libraries of requirements/base.txt."""
    directory = tmp_path_factory.mktemp("base")
    pinned = (ROOT / "requirements" / "base.txt").read_text("utf-8")
    for name in re.findall(r"^([\w.-]+)==", pinned, re.MULTILINE):
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # for another system or another Python
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (directory / top).exists():
                (directory / top).symlink_to(Path(str(found.locate_file(top))))
    return directory


def test_the_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    packages = {"idp_gateway", "ca", "policy", "templates", "proxy", "clients"}
    wanted = {
        str(path.relative_to(ROOT))
        for path in files_of(ROOT)
        if path.relative_to(ROOT).parts[0] in packages
    }
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert held == wanted
    for part in ("templates/portal.html.j2", "templates/static/mysocket.css"):
        assert part in held
    assert any(name.startswith("idp_gateway/migrations/versions/v0001") for name in held)


@pytest.mark.parametrize("words", [["version"], ["--help"], ["tunnel", "connect", "--help"]])
def test_the_client_runs_with_its_own_libraries_alone(
    words: list[str], wheel: zipfile.ZipFile, base_libraries: Path, tmp_path: Path
) -> None:
    wheel.extractall(tmp_path)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "clients.mysocketctl", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{tmp_path}:{base_libraries}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert PROJECT["version"] in done.stdout or "Usage:" in done.stdout


def test_building_the_project_is_no_part_of_running_it() -> None:
    extras = PROJECT["optional-dependencies"]
    build_tools = re.compile(r"hatchling|editables|setuptools|wheel")
    running = [*PROJECT["dependencies"], *extras["server"]]

    assert [line for line in running if build_tools.match(line)] == []
    locked = (ROOT / "requirements" / "server.txt").read_text("utf-8")
    assert re.findall(rf"^(?:{build_tools.pattern})==", locked, re.MULTILINE) == []

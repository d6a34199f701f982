"""The rules of the house: who may import whom, how large a file gets, which words name things."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.support.checkout import files_of

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("idp_gateway", "ca", "policy", "templates", "proxy", "clients")

MAY_IMPORT = {
    "policy": ("policy",),
    "ca": ("ca",),
    "proxy": (
        *("proxy", "policy.types", "policy.addresses", "policy.errors"),
        *("policy.native", "policy.names", "policy.networks"),
    ),
    # The policy package is pure, so documents are tested and explained without a server.
    "clients": ("clients", "ca.formats", "policy"),
    "templates": ("templates",),
    "idp_gateway": ("idp_gateway", "ca", "policy", "templates"),
}
SERVER_LIBRARIES = [
    "alembic",
    "argon2",
    "authlib",
    "envoy",
    "fastapi",
    "grpc",
    "itsdangerous",
    "jinja2",
    "joserfc",
    "psycopg",
    "pydantic",
    "sqlalchemy",
    "sqlmodel",
    "starlette",
    "uvicorn",
    "uvloop",
    "google",
]
VAGUE_WORDS = {
    "manager",
    "helper",
    "helpers",
    "utils",
    "util",
    "service",
    "info",
    "data",
    "handler",
}
NAMES_OF_OTHERS = {"data_received", "pty_data_received", "get_route_handler"}
"""Callbacks whose names asyncio, asyncssh and FastAPI chose."""

MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


@cache
def project_files() -> tuple[Path, ...]:
    """Every file of the project, committed or not, that git does not ignore."""
    return files_of(ROOT)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), filename=str(path))


@pytest.mark.parametrize("tree", ["clone of another owner", "export", "git is missing"])
def test_the_files_are_found_in_any_kind_of_tree(
    tree: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    (tmp_path / "kept" / "deep").mkdir(parents=True)
    for name in (".gitignore", "kept/deep/a.py", ".ci-run", "b.pyc", "build/c.py", ".venv/d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("build/\n.venv/\n*.pyc\n" if name == ".gitignore" else "")
    if tree != "export":
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
    if tree == "clone of another owner" and os.geteuid() == 0:
        for path in (tmp_path, tmp_path / ".git"):
            os.chown(path, 12345, 12345)
    if tree == "git is missing":
        monkeypatch.setenv("PATH", "/nonexistent")

    found = [str(path.relative_to(tmp_path)) for path in files_of(tmp_path)]

    assert found == [".ci-run", ".gitignore", "kept/deep/a.py"]


def python_files(*packages: str) -> list[Path]:
    return [
        path
        for path in project_files()
        if path.suffix == ".py" and (not packages or path.relative_to(ROOT).parts[0] in packages)
    ]


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) for every import of ``path``, also inside functions and ``TYPE_CHECKING``."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def inside(module: str, parents: tuple[str, ...]) -> bool:
    return any(module == parent or module.startswith(f"{parent}.") for parent in parents)


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_room_imports_only_the_rooms_below_it(package: str) -> None:
    strays = [
        f"{place(path, line)} imports {module}"
        for path in python_files(package)
        for line, module in imported_modules(path)
        if inside(module, PACKAGES) and not inside(module, MAY_IMPORT[package])
    ]
    assert strays == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_product_does_not_import_its_tests(package: str) -> None:
    strays = [
        place(path, line)
        for path in python_files(package)
        for line, module in imported_modules(path)
        if inside(module, ("tests", "bench", "pytest"))
    ]
    assert strays == []


def test_the_client_starts_without_any_server_library() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in python_files("clients")
        if path.name != "__init__.py"
    ]
    program = f"""
import importlib, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(SERVER_LIBRARIES)!r}:
            raise ImportError(f"{{name}} belongs to the server")
sys.meta_path.insert(0, Absent())
for module in {modules!r}:
    importlib.import_module(module)
"""
    outcome = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert outcome.returncode == 0, outcome.stderr


def test_only_tables_and_stores_know_the_database() -> None:
    strays = [
        place(path, line)
        for path in python_files(*PACKAGES)
        for line, module in imported_modules(path)
        if inside(module, ("sqlmodel", "sqlalchemy", "alembic"))
        and not re.match(r"idp_gateway/(tables|store|migrations)", str(path.relative_to(ROOT)))
    ]
    assert strays == []


GRANT_NAMES = {"grant", "leave", "Grant"}
"""What variables that hold grants are called here, and the class."""


def makes_grant(node: ast.AST) -> bool:
    """Whether this calls the class, or makes or changes a grant out of another."""
    if not isinstance(node, ast.Call):
        return False
    called = ast.unparse(node.func).rpartition(".")[2]
    about = {ast.unparse(argument).rpartition(".")[2] for argument in node.args[:1]}
    return called == "Grant" or (
        called in {"replace", "__replace__", "__new__", "__setattr__", "setattr"}
        and bool(about & GRANT_NAMES)
    )


def test_only_access_makes_grants() -> None:
    strays = [
        place(path, node.lineno)
        for path in python_files(*PACKAGES)
        for node in ast.walk(parsed(path))
        if path.relative_to(ROOT) != Path("idp_gateway/access.py") and makes_grant(node)
    ]
    assert strays == []


@pytest.mark.parametrize(
    ("code", "makes"),
    [
        ("Grant(grant_id='x')", True),
        ("types.Grant(**fields)", True),
        ("dataclasses.replace(grant, epoch=2)", True),
        ("replace(leave, not_after=later)", True),
        ("copy.replace(found.grant, epoch=2)", True),
        ("object.__new__(Grant)", True),
        ("object.__setattr__(grant, 'epoch', 2)", True),
        ("replace(record, dns_name=name)", False),
        ("text.replace('a', 'b')", False),
        ("grant(verdict, session=session)", False),
    ],
)
def test_every_way_to_make_a_grant_is_noticed(code: str, makes: bool) -> None:
    assert any(makes_grant(node) for node in ast.walk(ast.parse(code))) is makes


def test_only_access_and_the_policy_itself_evaluate() -> None:
    strays = [
        place(path, line)
        for path in python_files(*PACKAGES)
        for line, module in imported_modules(path)
        if module == "policy.evaluate.evaluate"
        and path.relative_to(ROOT).parts[0] != "policy"
        and path.relative_to(ROOT) != Path("idp_gateway/access.py")
    ]
    assert strays == []


def test_files_and_functions_stay_small() -> None:
    long_files = [
        f"{path.relative_to(ROOT)}: {lines} lines"
        for path in python_files()
        if (lines := len(path.read_text("utf-8").splitlines())) > MAX_FILE_LINES
    ]
    long_functions = [
        f"{place(path, node.lineno)} {node.name}: {length} lines"
        for path in python_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
    ]
    assert long_files + long_functions == []


def words_of(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_names_say_what_a_thing_is() -> None:
    vague = [
        f"{place(path, node.lineno)} {node.name}"
        for path in python_files(*PACKAGES)
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name not in NAMES_OF_OTHERS
        and words_of(node.name) & VAGUE_WORDS
    ]
    vague += [str(p.relative_to(ROOT)) for p in python_files() if words_of(p.stem) & VAGUE_WORDS]
    assert vague == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in python_files(*PACKAGES)
        if not ast.get_docstring(parsed(path))
    ]
    assert silent == []


def test_everything_that_is_left_open_is_finished() -> None:
    marks = re.compile(r"NotImplementedError|\bTODO\b|\bFIXME\b|\bXXX\b")
    found = [
        place(path, number)
        for path in python_files(*PACKAGES)
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


def test_the_locks_hold_no_addresses() -> None:
    strays = [
        place(path, number)
        for path in project_files()
        if path.relative_to(ROOT).parts[0] == "requirements" or "lock" in path.name
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if re.search(r"https?://", line)
    ]
    assert strays == []


def test_no_file_names_a_registry_or_this_machine() -> None:
    registries = r"pypi\.org|pythonhosted\.org|registry\.npmjs\.org|proxy\.golang\.org"
    pattern = re.compile(rf"{registries}|{re.escape(str(ROOT))}/".encode())
    strays = [
        str(path.relative_to(ROOT)) for path in project_files() if pattern.search(path.read_bytes())
    ]
    assert strays == []

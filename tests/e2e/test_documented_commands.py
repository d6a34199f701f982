"""What the pages give to type to ``curl`` works as written, for somebody ``make up`` was for."""

import subprocess
from pathlib import Path

import pytest

from tests.support.documentation import ROOT, markdown_files, shell_blocks
from tests.support.product import Person, Product

_STEPS = [
    pytest.param(line, id=f"{page.relative_to(ROOT)}:{line[:40]}")
    for page in markdown_files()
    # The tour of the README is walked as a whole.
    if page != ROOT / "README.md"
    for block in shell_blocks(page.read_text("utf-8"))
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("curl ")
]


def test_there_are_such_lines() -> None:
    assert len(_STEPS) >= 3


@pytest.mark.parametrize("line", _STEPS)
def test_a_line_with_curl_works_as_written(
    line: str, product: Product, owner: Person, tmp_path: Path
) -> None:
    """But for the names, which are an installation's own."""
    socket = owner.create_socket(
        name="documented",
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[owner.email],
    )
    (tmp_path / ".mysocket").symlink_to(product.state)
    typed = line.replace("https://gateway.localhost:8443", product.base_url)
    typed = typed.replace("DNS_NAME", socket["dnsname"])

    done = subprocess.run(
        ["bash", "-ec", typed],
        env=owner.environment,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, (typed, done.stderr)
    written = [*tmp_path.glob("*.krl"), *owner.home.glob(".ssh/known_hosts")]
    assert done.stdout or any(path.stat().st_size for path in written)

"""An OpenID provider in a process of its own (oidc-provider-mock); people pick who they are."""

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page

from tests.support.processes import Process, free_port, running


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdProvider:
    issuer: str

    @property
    def settings(self) -> str:
        """``MYSOCKET_PROVIDERS`` for a gateway that offers it as ``lab``."""
        provider = {
            "name": "lab",
            "title": "The lab",
            "issuer": self.issuer,
            "client_id": "mysocket",
            "client_secret": "not-checked-by-this-provider",
        }
        return json.dumps([provider])


@contextlib.contextmanager
def openid_provider(directory: Path, *people: str) -> Iterator[OpenIdProvider]:
    """Knows ``people`` by verified e-mail, and ``mallory``, who merely claims the first one's."""
    claims = [
        {"sub": email, "email": email, "email_verified": True, "name": email.partition("@")[0]}
        for email in people
    ]
    claims.append({"sub": "mallory", "email": people[0], "email_verified": False})
    port = free_port()
    process = Process(
        *(sys.executable, "-m", "oidc_provider_mock", "--port", str(port)),
        *(word for claim in claims for word in ("--user-claims", json.dumps(claim))),
        log=directory / "openid-provider.log",
    )
    with running(process):
        process.wait_for_port(port)
        yield OpenIdProvider(issuer=f"http://127.0.0.1:{port}")


def sign_in_at_provider(page: Page, subject: str) -> None:
    """On the gateway's login page, go to the provider and be ``subject`` there."""
    page.locator("#provider-lab").click()
    page.locator(f"button[name=sub][value='{subject}']").click()

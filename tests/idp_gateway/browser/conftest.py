"""A browser that walks between the gateway and its sockets, as Envoy would let it."""

import itertools
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from idp_gateway import accounts, publishing
from idp_gateway.composition import Gateway
from idp_gateway.records import AccountRecord, SocketRecord
from idp_gateway.schemas.sockets import NewSocketForm
from policy.addresses import EmailAddress
from tests.support.openid_provider import OpenIdProvider, openid_provider

ALICE, BOB = "alice@example.com", "bob@elsewhere.example"
PASSWORD = "correct horse battery staple"
NAVIGATION = {"accept": "text/html,*/*;q=0.8", "sec-fetch-mode": "navigate"}


@dataclass(slots=True)
class Browser:
    """Keeps cookies for each host as browsers keep ``__Host-`` cookies; follows nothing itself."""

    api: httpx.Client
    gateway: Gateway
    address: str = "203.0.113.7"
    jars: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def base(self) -> str:
        return self.gateway.settings.base_url

    def request(self, method: str, url: str, **extra: Any) -> httpx.Response:
        """One request; a socket's host is asked for at ``ext_authz``, as Envoy does."""
        url = urljoin(f"{self.base}/", url)
        parts = urlsplit(url)
        host = parts.hostname or ""
        headers = {
            "x-mysocket-edge-key": self.gateway.edge_key.decode(),
            "x-forwarded-for": self.address,
        }
        if self.jars[host]:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self.jars[host].items())
        headers |= extra.pop("headers", {})
        self.api.cookies.clear()  # the client shares its own jar among all browsers
        if host.endswith(f".{self.gateway.settings.edge_domain}"):
            target = url.split(parts.netloc, 1)[1] or "/"
            answer = self.ask(method, host, target, headers=headers, **extra)
        else:
            answer = self.api.request(method, url, headers=headers, **extra)
        for line in answer.headers.get_list("set-cookie"):
            self._keep(host, line)
        return answer

    def ask(self, method: str, host: str, target: str, **extra: Any) -> httpx.Response:
        """Envoy's question about a request for ``host``."""
        headers = {"host": host} | extra.pop("headers", {})
        url = f"{self.base}/internal/authorize{target}"
        return self.api.request(method, url, headers=headers, **extra)

    def get(self, url: str, **headers: str) -> httpx.Response:
        return self.request("GET", url, headers=NAVIGATION | headers)

    def walk(self, url: str, *, limit: int = 8) -> list[httpx.Response]:
        """Open ``url`` and follow every redirect that stays with us."""
        answers = [self.get(url)]
        place = urljoin(f"{self.base}/", url)
        while answers[-1].is_redirect:
            assert len(answers) < limit, "a redirect loop"
            place = urljoin(place, answers[-1].headers["location"])
            if not self.is_ours(place):
                break
            answers.append(self.get(place))
        return answers

    def is_ours(self, url: str) -> bool:
        host = urlsplit(url).hostname or ""
        return host in self.gateway.settings.gateway_names or host.endswith(
            f".{self.gateway.settings.edge_domain}"
        )

    def submit(self, page: httpx.Response, action: str, **fields: str) -> httpx.Response:
        """Fill in and send the form of a page that posts to ``action``."""
        form = re.search(rf'<form method="post" action="{action}".*?</form>', page.text, re.DOTALL)
        assert form is not None, page.text
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[0])
        values = {name: unescape(value) for name, value in hidden} | fields
        return self.request("POST", action, data=values, headers={"sec-fetch-site": "same-origin"})

    def log_in(self, email: str = ALICE, password: str = PASSWORD) -> httpx.Response:
        """Sign in with a local account on the login page."""
        page = self.get("/login")
        return self.submit(page, "/login/local", email=email, password=password)

    def _keep(self, host: str, line: str) -> None:
        pair, *attributes = [part.strip() for part in line.split(";")]
        name, _, value = pair.partition("=")
        assert {"Secure", "HttpOnly", "Path=/"} <= set(attributes), line
        assert not any(word.lower().startswith("domain") for word in attributes), line
        if "Max-Age=0" in attributes:
            self.jars[host].pop(name, None)
        else:
            self.jars[host][name] = value


@pytest.fixture
def browser(api: httpx.Client, gateway: Gateway) -> Browser:
    return Browser(api, gateway)


@pytest.fixture
def new_browser(api: httpx.Client, gateway: Gateway) -> Callable[[], Browser]:
    """Somebody else's browser."""
    return lambda: Browser(api, gateway)


AccountMaker = Callable[..., AccountRecord]
SocketMaker = Callable[..., SocketRecord]


@pytest.fixture(scope="session")
def password_hash() -> str:
    """One hash for all: making it is slow on purpose."""
    return accounts.hash_password(PASSWORD)


@pytest.fixture
def new_account(gateway: Gateway, password_hash: str) -> AccountMaker:
    numbers = itertools.count(1)

    def make(email: str = ALICE, *, verified: bool = True) -> AccountRecord:
        account = AccountRecord(
            account_id=f"00000000-0000-4000-8000-{next(numbers):012d}",
            email=str(EmailAddress.parse(email)),
            email_verified=verified,
            name="Alice Example",
            password_hash=password_hash,
            ssh_key="",
            created_at=gateway.clock(),
        )
        gateway.store.add_account(account)
        return account

    return make


@pytest.fixture
def alice(new_account: AccountMaker) -> AccountRecord:
    return new_account(ALICE)


@pytest.fixture
def new_socket(gateway: Gateway, new_account: AccountMaker) -> SocketMaker:
    owner = new_account("owner@lab.test")

    def make(*emails: str, **fields: Any) -> SocketRecord:
        form = NewSocketForm.model_validate(
            {
                "name": "wiki",
                "socket_type": "http",
                "cloud_authentication_enabled": True,
                "cloud_authentication_email_allowed_addressses": list(emails),
            }
            | fields
        )
        return publishing.create_socket(gateway, owner, form)

    return make


@pytest.fixture
def wiki(new_socket: SocketMaker) -> SocketRecord:
    """An HTTP socket that Alice may open."""
    return new_socket(ALICE)


@pytest.fixture
def database(new_socket: SocketMaker) -> SocketRecord:
    """A TLS socket that Alice may open."""
    return new_socket(ALICE, socket_type="tls", name="database")


@pytest.fixture(scope="session")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdProvider]:
    """A real OpenID provider that knows Alice and Bob, and Mallory who claims to be Alice."""
    folder: Path = tmp_path_factory.mktemp("provider")
    with openid_provider(folder, ALICE, BOB) as running:
        yield running


def address_of(gateway: Gateway, socket: SocketRecord, path: str = "/") -> str:
    """Where people open a socket."""
    return f"https://{socket.dns_name}{gateway.settings.port_suffix}{path}"


def choose(authorization_url: str, subject: str) -> str:
    """Be ``subject`` at the provider; the address it sends the browser back to."""
    with httpx.Client(trust_env=False) as visitor:
        answer = visitor.post(authorization_url, data={"sub": subject})
    assert answer.is_redirect, answer.text
    return answer.headers["location"]


def enter(browser: Browser, socket: SocketRecord, path: str = "/") -> None:
    """Open a socket and sign in with the local account on the way."""
    page = browser.walk(address_of(browser.gateway, socket, path))[-1]
    answer = browser.submit(page, "/login/local", email=ALICE, password=PASSWORD)
    final = browser.walk(answer.headers["location"])[-1]
    assert final.status_code == 200, final.text

"""One running product per module, an owner who is logged in, and what they publish."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.origins import Origin, http_origin
from tests.support.product import Person, Product, running_product
from tests.support.sshd import Sshd, running_sshd


@pytest.fixture(scope="module")
def product_environment() -> dict[str, str]:
    """Settings of the product beside its ports; modules override this."""
    return {}


@pytest.fixture(scope="module")
def product(product_environment: dict[str, str]) -> Iterator[Product]:
    with running_product(environment=product_environment) as running:
        yield running


@pytest.fixture(scope="module")
def owner(product: Product) -> Person:
    """Owns sockets; their address is verified, for policies that name it."""
    someone = product.person("owner@example.com")
    someone.log_in()
    return someone


@pytest.fixture(scope="module")
def alice(product: Product) -> Person:
    """Somebody the tests let in."""
    return product.person("alice@example.com")


@pytest.fixture(scope="module")
def origin() -> Iterator[Origin]:
    with http_origin() as serving:
        yield serving


@pytest.fixture(scope="module")
def web(owner: Person, alice: Person, origin: Origin) -> dict[str, Any]:
    created = owner.create_socket(
        name="survivor",
        socket_type="http",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    owner.publish(created, origin.port)
    return created


@pytest.fixture(scope="module")
def machine_room(
    owner: Person, alice: Person, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], Sshd]]:
    """A TLS socket and the sshd behind it."""
    created = owner.create_socket(
        name="machine room",
        socket_type="tls",
        cloud_authentication_enabled=True,
        cloud_authentication_email_allowed_addressses=[alice.email],
    )
    directory = tmp_path_factory.mktemp("sshd")
    with running_sshd(directory, [created["ssh_ca"]], ["mysocket_ssh_signed"]) as sshd:
        owner.publish(created, sshd.port)
        yield created, sshd

"""One running product per module, with an owner who is logged in."""

from collections.abc import Iterator

import pytest

from tests.support.product import Person, Product, running_product


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

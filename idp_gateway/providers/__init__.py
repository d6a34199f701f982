"""Identity providers: places the gateway lets people sign in at.

Built-in kinds stand in ``KINDS``; a kind that is not there is looked up among the entry points of
the group ``mysocket.identity_providers``, each a callable of the same shape.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from idp_gateway.clock import Clock
from idp_gateway.errors import SettingsError
from idp_gateway.providers.base import IdentityProvider
from idp_gateway.providers.oidc import OpenIDProvider, OpenIDRegistration

ENTRY_POINTS = "mysocket.identity_providers"

ProviderFactory = Callable[[OpenIDRegistration, Clock], IdentityProvider]


def _openid(registration: OpenIDRegistration, clock: Clock) -> IdentityProvider:
    return OpenIDProvider(registration, clock=clock)


KINDS: Mapping[str, ProviderFactory] = MappingProxyType({"oidc": _openid})
"""What ``kind`` may say in the settings."""

RESERVED_NAMES = frozenset({"local", "socket"})
"""Words the login addresses use themselves."""


def build_providers(
    registrations: Iterable[tuple[str, OpenIDRegistration]], clock: Clock
) -> Mapping[str, IdentityProvider]:
    """Providers by name, from (kind, registration) pairs, in that order.

    Raises:
        SettingsError: a kind nobody knows, a name twice or one that is reserved, or two providers
            that claim one issuer.
    """
    providers: dict[str, IdentityProvider] = {}
    issuers: set[str] = set()
    for kind, registration in registrations:
        if registration.name in providers or registration.name in RESERVED_NAMES:
            raise SettingsError(f"The provider name {registration.name!r} is taken.")
        if registration.issuer in issuers:
            raise SettingsError(f"Two providers claim the issuer {registration.issuer!r}.")
        issuers.add(registration.issuer)
        providers[registration.name] = _factory(kind)(registration, clock)
    return MappingProxyType(providers)


def _factory(kind: str) -> ProviderFactory:
    if kind in KINDS:
        return KINDS[kind]
    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        factory: ProviderFactory = entry.load()
        return factory
    raise SettingsError(f"No identity provider of the kind {kind!r} is installed.")

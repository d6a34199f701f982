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
from idp_gateway.settings import ProviderSettings

ENTRY_POINTS = "mysocket.identity_providers"

ProviderFactory = Callable[[ProviderSettings, Clock], IdentityProvider]


def _openid(settings: ProviderSettings, clock: Clock) -> IdentityProvider:
    registration = OpenIDRegistration(
        name=settings.name,
        label=settings.title or settings.name,
        issuer=settings.issuer,
        client_id=settings.client_id,
        client_secret=settings.secret(),
        endpoint_origins=frozenset(settings.endpoint_origins),
    )
    return OpenIDProvider(registration, clock=clock)


KINDS: Mapping[str, ProviderFactory] = MappingProxyType({"oidc": _openid})
"""What ``kind`` may say in the settings."""

RESERVED_NAMES = frozenset({"local", "socket"})
"""Words the login addresses use themselves."""


def build_providers(
    configured: Iterable[ProviderSettings], clock: Clock
) -> Mapping[str, IdentityProvider]:
    """The configured providers by name, in their order.

    Raises:
        SettingsError: a kind nobody knows, a name that is reserved, or two providers that claim
            one issuer (identities are keyed by it).
    """
    providers: dict[str, IdentityProvider] = {}
    issuers: set[str] = set()
    for settings in configured:
        if settings.name in RESERVED_NAMES or settings.name in providers:
            raise SettingsError(f"the provider name {settings.name!r} is taken")
        if settings.issuer in issuers:
            raise SettingsError(f"two providers claim the issuer {settings.issuer!r}")
        issuers.add(settings.issuer)
        providers[settings.name] = _factory(settings.kind)(settings, clock)
    return MappingProxyType(providers)


def _factory(kind: str) -> ProviderFactory:
    if kind in KINDS:
        return KINDS[kind]
    for entry in entry_points(group=ENTRY_POINTS, name=kind):
        factory: ProviderFactory = entry.load()
        return factory
    raise SettingsError(f"no identity provider of the kind {kind!r} is installed")

"""The one place where the gateway's parts are put together."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from ca.keybox import KeyBox
from idp_gateway.account_turns import AccountTurns
from idp_gateway.address_rules import RememberedRules
from idp_gateway.authority import Authority
from idp_gateway.bounds import LONG_BODIES
from idp_gateway.capacity import Capacity, Places
from idp_gateway.clock import Clock, system_clock
from idp_gateway.denials import RecentDenials
from idp_gateway.feed import Feed
from idp_gateway.forms import Signer, browser_signer
from idp_gateway.issuance_log import IssuanceLog
from idp_gateway.kept_lists import KeptLists
from idp_gateway.origins import Origins
from idp_gateway.providers import build_providers
from idp_gateway.providers.base import IdentityProvider
from idp_gateway.rotation import Rotation
from idp_gateway.rules import Rules
from idp_gateway.secret_files import load_or_make_secret
from idp_gateway.settings import Settings
from idp_gateway.store import Database, Store
from idp_gateway.store.migrate import migrate
from idp_gateway.temporary_policies import TemporaryAccess, issuers_of
from idp_gateway.tokens import Purpose, Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Everything a request may need; made once, shared by all threads."""

    settings: Settings
    clock: Clock
    store: Store
    tokens: Tokens
    log: IssuanceLog
    """Where every certificate is put on record before it leaves."""
    authority: Authority
    rotation: Rotation
    """Replaces the keys of the authority."""
    feed: Feed
    providers: Mapping[str, IdentityProvider]
    """Places to sign in at beside local accounts, by name."""
    signer: Signer
    """Signs what browsers carry for the gateway: forms, return addresses, attempts."""
    capacity: Capacity
    """How much of what is done at a time."""
    long_bodies: Places
    """Whose long bodies are being read."""
    denials: RecentDenials
    """What need not be put on record again."""
    lists: KeptLists
    """Public lists of what is revoked, as they were last made."""
    rules: Rules
    """Which policies bear on a socket."""
    origins: Origins
    """Which country and network an address is in."""
    edge_key: bytes = field(repr=False)
    """What edges prove themselves with: the text of the edge key file."""

    def trust(self) -> dict[str, Any]:
        """What edges verify with, as the feed tells them."""
        return _trust(self.tokens, self.authority)

    def close(self) -> None:
        """Let streams end and give the database back."""
        self.feed.close()
        self.feed.join()
        self.log.close()
        self.authority.close()
        self.store.database.close()


def build_gateway(settings: Settings, *, clock: Clock = system_clock) -> Gateway:
    """Bring the database up to date, load or make every key, and connect the parts.

    Raises:
        SettingsError: a secret or setting that cannot be used.
        ca.errors.KeyStoreError: a key that cannot be opened with this master key.
    """
    migrate(settings)
    store = Store(Database(settings.database_url, turns=AccountTurns()))
    master_key = load_or_make_secret(settings.master_key_file)
    box = KeyBox(master_key)
    tokens = Tokens(store=store, box=box, issuer=settings.base_url, clock=clock)
    log = IssuanceLog(store=store, box=box, origin=settings.gateway_names[0], clock=clock)
    authority = Authority(settings=settings, store=store, box=box, clock=clock, issuances=log)
    rotation = Rotation(
        store=store,
        generations=authority.generations,
        root_list=authority.root_list,
        clock=clock,
        life=timedelta(minutes=settings.grant_minutes),
        drift=timedelta(minutes=settings.clock_drift_minutes),
    )
    load_or_make_secret(settings.edge_key_file)
    temporary = TemporaryAccess(store=store, clock=clock, issuers=issuers_of(settings))
    rules = Rules(store, temporary, clock)
    remembered = RememberedRules(rules)
    return Gateway(
        settings=settings,
        clock=clock,
        store=store,
        tokens=tokens,
        log=log,
        authority=authority,
        rotation=rotation,
        feed=Feed(
            store=store,
            trust=partial(_trust, tokens, authority),
            http_ports=(settings.http_port, settings.https_port),
            clock=clock,
            address_rules=remembered,
            ready_rules=remembered.ready,
        ),
        providers=build_providers(settings.providers, clock),
        capacity=Capacity(),
        long_bodies=Places(LONG_BODIES),
        denials=RecentDenials(),
        lists=KeptLists(store, clock),
        rules=rules,
        origins=Origins(country_file=settings.geo_country_file, asn_file=settings.geo_asn_file),
        signer=browser_signer(master_key),
        edge_key=settings.edge_key_file.read_bytes().strip(),
    )


def _trust(tokens: Tokens, authority: Authority) -> dict[str, Any]:
    return {
        "issuer": tokens.issuer,
        "session_jwks": tokens.public_keys(Purpose.SESSION),
        "client_ca": authority.client_cas,
        "tunnel_user_ca": list(authority.tunnel_user_ca),
        "tunnel_user_ca_past": list(authority.tunnel_user_ca_past),
    }

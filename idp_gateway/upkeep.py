"""What a gateway does every few minutes without being asked: forget, and stay able to sign."""

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta

from idp_gateway.ca_generations import X509_ISSUING
from idp_gateway.composition import Gateway
from idp_gateway.errors import Conflict
from idp_gateway.rotation import Step

log = logging.getLogger(__name__)

REMEMBER_CHANGES = timedelta(days=7)
"""An edge that was away longer gets a snapshot."""
REMEMBER_CHECKPOINTS = timedelta(days=1)
"""Nobody asks the gateway for older ones: who compares keeps the signed note."""


def tend(gateway: Gateway) -> None:
    """One round of everything; what fails is logged and tried again in the next."""
    steps = (
        _forget_logins,
        _forget_changes,
        _forget_audit,
        _forget_checkpoints,
        _forget_revocations,
        follow_issuing_ca,
        _follow_root_list,
    )
    _take(gateway, steps)


def follow_time(gateway: Gateway) -> None:
    """What cannot wait for a round of everything; as ``tend`` otherwise."""
    _take(gateway, [_follow_ends])


def _take(gateway: Gateway, steps: Iterable[Callable[[Gateway], None]]) -> None:
    for step in steps:
        try:
            step(gateway)
        except Exception:
            log.warning("upkeep failed; trying again later", exc_info=True)


def follow_issuing_ca(gateway: Gateway) -> None:
    """Rotate an issuing CA that is near its end, as far as its edges are by now."""
    if not gateway.authority.generations.issuing_ca_outlived():
        return
    if not gateway.rotation.standing(X509_ISSUING).under_way:
        gateway.rotation.take(X509_ISSUING, Step.PREPARE)
    gateway.rotation.advance(X509_ISSUING)


def follow_names(gateway: Gateway) -> None:
    """Make an issuing CA for the gateway's names if the present one is for others.

    For a gateway that starts to serve, and for nothing else: a command run with other settings by
    mistake must not replace a CA.
    """
    try:
        if gateway.authority.generations.names_changed():
            log.warning("the names of this gateway have changed: making an issuing CA for them")
            gateway.rotation.replace_at_once(X509_ISSUING)
    except Conflict:
        log.info("another gateway makes an issuing CA for the new names")


def _follow_root_list(gateway: Gateway) -> None:
    """Where the root's key is; elsewhere it is done by hand."""
    gateway.authority.root_list.follow()


def _follow_ends(gateway: Gateway) -> None:
    now = gateway.clock()
    gateway.store.renew_after_ends(now - REMEMBER_CHANGES, now)


def _forget_logins(gateway: Gateway) -> None:
    gateway.store.delete_expired(gateway.clock())


def _forget_changes(gateway: Gateway) -> None:
    gateway.store.forget_changes(gateway.clock() - REMEMBER_CHANGES)


def _forget_checkpoints(gateway: Gateway) -> None:
    gateway.store.forget_checkpoints(gateway.clock() - REMEMBER_CHECKPOINTS)


def _forget_revocations(gateway: Gateway) -> None:
    gateway.store.forget_revocations(gateway.clock())


def _forget_audit(gateway: Gateway) -> None:
    days = gateway.settings.audit_days
    if days:
        before = gateway.clock() - timedelta(days=days)
        gateway.store.forget_audit(before)
        gateway.store.forget_access_requests(before)
        gateway.store.forget_policy_versions(before)
        gateway.store.forget_prefix_list_versions(before)

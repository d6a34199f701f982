"""Guest links: what an owner hands out, and what becomes of it in the guest's browser.

The link's secret is 256 random bits, kept as a hash. It lets nobody in: it only says which
invitation somebody means, who must be signed in under the very address that was invited.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from idp_gateway.approving import Person
from idp_gateway.composition import Gateway
from idp_gateway.errors import Forbidden, InvalidInput, NotAuthenticated, NotFound
from idp_gateway.records import AccountRecord
from idp_gateway.request_records import GuestRecord
from idp_gateway.sessions import new_secret, secret_digest
from idp_gateway.socket_login import is_secret
from idp_gateway.store.guests import UNKNOWN
from policy.addresses import EmailAddress
from policy.types import Reason

MAX_GUESTS = 200
"""Of one socket, that are not over."""
GUEST_PATH = "/guest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """Whom an owner lets in, to what, and when."""

    socket_id: str
    email: EmailAddress
    starts_at: datetime | None = None
    """From when on; from now on if not said."""
    ends_at: datetime
    note: str = ""


def invite(
    gateway: Gateway, account: AccountRecord, person: Person, invitation: Invitation
) -> tuple[GuestRecord, str]:
    """A new invitation and its link, which is shown this once.

    Raises:
        InvalidInput: the window is empty, over, or ends too far ahead.
        NotFound, QuotaExceeded: see ``GuestStore.add_guest``.
    """
    now = gateway.clock()
    # A start that is past means now; the far ends of the calendar exist in no other zone.
    starts_at, ends_at = max(invitation.starts_at or now, now), invitation.ends_at
    if ends_at <= starts_at:
        raise InvalidInput(
            "it ends before it starts, or is over", field="ends_at", reason="window-empty"
        )
    longest = gateway.settings.guest_max_days
    if ends_at > now + timedelta(days=longest):
        raise InvalidInput(
            f"it must end within {longest:g} days", field="ends_at", reason="time-too-long"
        )
    secret = new_secret()
    guest = GuestRecord(
        guest_id=str(uuid.uuid4()),
        account_id=account.account_id,
        socket_id=invitation.socket_id,
        email=str(invitation.email),
        code_hash=secret_digest(secret),
        starts_at=starts_at.astimezone(UTC),
        ends_at=ends_at.astimezone(UTC),
        note=invitation.note,
        created_by=account.email,
        created_at=now,
    )
    gateway.store.add_guest(guest, person, limit=MAX_GUESTS)
    return guest, f"{gateway.settings.base_url}{GUEST_PATH}?code={secret}"


def find_invitation(gateway: Gateway, secret: str) -> GuestRecord:
    """The invitation a link is for, whoever looks.

    Raises:
        NotFound: none, or one that is over or revoked: all alike.
    """
    guest = gateway.store.find_guest(secret_digest(secret)) if is_secret(secret) else None
    if guest is None or guest.revoked_at is not None or gateway.clock() >= guest.ends_at:
        raise NotFound("This invitation does not exist or is over.", reason=UNKNOWN)
    return guest


def claim(gateway: Gateway, secret: str, person: Person) -> GuestRecord:
    """Make somebody the guest.

    Raises:
        NotFound: as ``find_invitation``.
        Forbidden: nobody vouches for their address, or the invitation is not theirs.
    """
    find_invitation(gateway, secret)
    if not person.provider:
        # A login from before the provider's name was kept: no policy could name it.
        raise NotAuthenticated("Please log out and log in again first.", reason="login-ended")
    if person.email is None:
        raise Forbidden(
            "An invitation is for an address that your way of signing in has verified; this one"
            " has not.",
            reason=Reason.EMAIL_UNVERIFIED,
        )
    return gateway.store.claim_guest(secret_digest(secret), person, gateway.clock())

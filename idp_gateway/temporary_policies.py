"""What lets somebody in for a while, as policies: approved requests and claimed invitations.

Each is for one person, by the issuer and subject that asked or claimed, on one socket and in one
window. Policies name providers as this gateway calls them, so an approval counts only while the
provider of that name still is the issuer it was given for.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from idp_gateway.clock import Clock
from idp_gateway.providers.local import NAME as LOCAL
from idp_gateway.records import SocketRecord
from idp_gateway.request_records import AccessRequestRecord, GuestRecord
from idp_gateway.settings import Settings
from idp_gateway.store import Store
from policy.names import SubjectName
from policy.types import Action, Policy, When, Who


@dataclass(frozen=True, slots=True, kw_only=True)
class TemporaryAccess:
    """Reads the temporary policies of sockets; what ``Rules`` asks for."""

    store: Store
    clock: Clock
    issuers: Mapping[str, str]
    """Issuer by the name of the provider."""

    def __call__(self, sockets: Sequence[SocketRecord]) -> Mapping[str, Sequence[Policy]]:
        """The policies of those sockets that have any, by socket id."""
        now = self.clock()
        socket_ids = [socket.socket_id for socket in sockets]
        found: dict[str, list[Policy]] = defaultdict(list)
        for request in self.store.approved_on(socket_ids, now):
            found[request.socket_id] += self._of_request(request)
        for guest in self.store.guests_admitted_on(socket_ids, now):
            found[guest.socket_id] += self._of_guest(guest)
        return found

    def _of_request(self, request: AccessRequestRecord) -> list[Policy]:
        who = self._only(request.provider, request.issuer, request.subject)
        if who is None or request.starts_at is None or request.ends_at is None:
            return []
        return [
            _policy(
                request.policy_id,
                f"approved for {request.email}",
                who,
                frozenset({Action(request.action)}),
                (request.starts_at, request.ends_at),
            )
        ]

    def _of_guest(self, guest: GuestRecord) -> list[Policy]:
        who = self._only(guest.provider, guest.issuer, guest.subject)
        if who is None:
            return []
        window = (guest.starts_at, guest.ends_at)
        name = f"invitation of {guest.email}"
        return [_policy(guest.policy_id, name, who, frozenset(Action), window)]

    def _only(self, provider: str | None, issuer: str | None, subject: str | None) -> Who | None:
        """Exactly this person; ``None`` where the provider's name means another issuer by now."""
        if not provider or not subject or self.issuers.get(provider) != issuer:
            return None
        return Who(subjects=frozenset({SubjectName(provider, None, subject)}))


def issuers_of(settings: Settings) -> dict[str, str]:
    """Issuer of every way to sign in, by its name."""
    return {LOCAL: settings.base_url} | {one.name: one.issuer for one in settings.providers}


def _policy(
    policy_id: str,
    name: str,
    who: Who,
    actions: frozenset[Action],
    window: tuple[datetime, datetime],
) -> Policy:
    after, before = window
    return Policy(
        policy_id=policy_id,
        name=name,
        actions=actions,
        who=who,
        when=When(after=after, before=before),
    )

"""Who may approve requests for access, for a socket and for an account's sockets together."""

from datetime import datetime

from sqlalchemy import Connection, delete, insert, or_, select

from idp_gateway.approving import ApprovalRules, Person
from idp_gateway.errors import InvalidInput
from idp_gateway.request_records import ApprovalRulesRecord
from idp_gateway.store.access_events import note_rules
from idp_gateway.store.base import StorePart, find_all, find_one, values_of
from idp_gateway.store.rules import SOCKETS
from idp_gateway.store.sockets import ACCOUNTS, owned_socket
from idp_gateway.tables import table_of
from idp_gateway.tables_of_requests import ApprovalRules as ApprovalRulesTable
from idp_gateway.tables_of_requests import Approver

RULES = table_of(ApprovalRulesTable)
APPROVERS = table_of(Approver)


class ApprovalRulesStore(StorePart):
    """Table ``approval_rules``, and ``approvers``, which finds its rows by address."""

    def approval_rules(self, account_id: str, socket_id: str = "") -> ApprovalRulesRecord:
        """What the owner set for a socket, or for the whole account; the default if nothing.

        Raises:
            NotFound: there is no such socket, or it is another account's.
        """
        with self.database.reading() as connection:
            if socket_id:
                owned_socket(connection, account_id, socket_id)
            return _own(connection, account_id, socket_id)

    def rules_for_socket(self, socket_id: str) -> ApprovalRules | None:
        """What holds for any account's socket; ``None`` if there is no such socket."""
        with self.database.reading() as connection:
            return rules_in_force(connection, socket_id)

    def set_approval_rules(
        self, rules: ApprovalRulesRecord, person: Person, *, why: str, now: datetime
    ) -> ApprovalRulesRecord:
        """Put rules in the place of those before, for requests that are answered from now on.

        Raises:
            NotFound: the socket is not the account's.
            InvalidInput: two people would have to approve where there is only one.
        """
        with self.database.changing_of(rules.account_id) as connection:
            account_id, socket_id = rules.account_id, rules.socket_id
            if socket_id:
                owned_socket(connection, account_id, socket_id)
            before = _own(connection, account_id, socket_id)
            for table in (RULES, APPROVERS):
                here = (table.c.account_id == account_id, table.c.socket_id == socket_id)
                connection.execute(delete(table).where(*here))
            connection.execute(insert(RULES).values(values_of(rules)))
            key = {"account_id": account_id, "socket_id": socket_id}
            if rules.approvers:
                rows = [key | {"email": email} for email in rules.approvers]
                connection.execute(insert(APPROVERS), rows)
            _check_possible(connection, rules, before)
            words = f"{_told(rules)}{': ' if why else ''}{why}"
            note_rules(connection, account_id, socket_id, person, at=now, words=words)
        return rules

    def sockets_to_answer_for(self, person: Person) -> tuple[str, ...]:
        """Ids of the sockets whose requests somebody may answer: their own, and as approver."""
        named = select(APPROVERS.c.socket_id).where(APPROVERS.c.email == person.email)
        whole = select(APPROVERS.c.account_id).where(
            APPROVERS.c.email == person.email, APPROVERS.c.socket_id == ""
        )
        query = select(SOCKETS.c.socket_id).where(
            or_(
                SOCKETS.c.account_id == person.account_id,
                SOCKETS.c.account_id.in_(whole),
                SOCKETS.c.socket_id.in_(named),
            )
        )
        with self.database.reading() as connection:
            return tuple(sorted(connection.execute(query).scalars()))


def rules_in_force(connection: Connection, socket_id: str) -> ApprovalRules | None:
    """As ``rules_for_socket``, in a transaction under way."""
    query = (
        select(SOCKETS.c.account_id, ACCOUNTS.c.email)
        .join(ACCOUNTS, ACCOUNTS.c.account_id == SOCKETS.c.account_id)
        .where(SOCKETS.c.socket_id == socket_id)
    )
    owner = connection.execute(query).first()
    if owner is None:
        return None
    records = find_all(
        connection,
        ApprovalRulesRecord,
        RULES,
        RULES.c.account_id == owner.account_id,
        RULES.c.socket_id.in_(["", socket_id]),
    )
    plain = ApprovalRules(account_id=owner.account_id, owner_email=owner.email)
    return plain.with_rules(records)


def _own(connection: Connection, account_id: str, socket_id: str) -> ApprovalRulesRecord:
    found = find_one(
        connection,
        ApprovalRulesRecord,
        RULES,
        RULES.c.account_id == account_id,
        RULES.c.socket_id == socket_id,
    )
    return found or ApprovalRulesRecord(account_id=account_id, socket_id=socket_id)


def _check_possible(
    connection: Connection, rules: ApprovalRulesRecord, before: ApprovalRulesRecord
) -> None:
    """Refuse a two-person rule that one person would have to follow.

    Approvers of the account count for a socket, so the whole account is looked at where its own
    rules lose some.
    """
    account_id = rules.account_id
    owner = connection.execute(
        select(ACCOUNTS.c.email).where(ACCOUNTS.c.account_id == account_id)
    ).scalar_one()
    records = find_all(connection, ApprovalRulesRecord, RULES, RULES.c.account_id == account_id)
    whole = [record for record in records if not record.socket_id]
    narrower = set(before.approvers) - set(rules.approvers)
    looked_at = [rules] if rules.socket_id or not narrower else [rules, *records]
    for record in looked_at:
        together = ApprovalRules(account_id=account_id, owner_email=owner).with_rules(
            [record, *whole]
        )
        if together.two_person and not together.approvers - {owner}:
            raise InvalidInput(
                "two different people cannot approve while the owner is the only one who may:"
                " name an approver",
                field="approvers",
                reason="two-person-impossible",
            )


def _told(rules: ApprovalRulesRecord) -> str:
    asking = "people may ask" if rules.asking else "nobody may ask"
    how_many = "two people approve" if rules.two_person else "one person approves"
    approvers = ", ".join(rules.approvers) or "nobody beside the owner"
    return f"{asking}; {how_many}; approvers: {approvers}"

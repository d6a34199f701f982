"""Any steps in any order: a request's state is what a model of five lines says it is."""

import tempfile
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from idp_gateway.errors import Conflict, Forbidden, NotFound
from idp_gateway.request_records import RequestState
from idp_gateway.store import Database, Store
from idp_gateway.store.access_requests import AskingLimits
from tests.support.ready_database import place_sqlite
from tests.support.requests import ask, owner_person, person
from tests.support.requests import rule as set_rule
from tests.support.rows import NOW, owner_with_socket

ANN, BEA, CAT = person("ann"), person("bea"), person("cat")
PEOPLE = ("owner", "bea", "ann", "cat")
UNLIMITED = AskingLimits(by_person=10**6, by_person_and_socket=10**6)


class Requests(RuleBasedStateMachine):
    """One asker, one socket; the owner and Bea may answer, Cat and Ann may not."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = place_sqlite(Path(self.folder.name) / "gateway.db")
        self.store = Store(Database(f"sqlite:///{path}"))
        self.now: datetime = NOW
        self.state: RequestState | None = None
        self.over = NOW
        self.approved_by: dict[str, int] = {}

    @initialize(two_person=st.booleans())
    def begin(self, *, two_person: bool) -> None:
        self.owner, self.socket = owner_with_socket(self.store, cloud_authentication_enabled=True)
        set_rule(self.store, self.owner, "bea@corp.test", two_person=two_person)
        self.people = {"owner": owner_person(self.owner), "bea": BEA, "ann": ANN, "cat": CAT}
        self.needed = 2 if two_person else 1

    @property
    def standing(self) -> RequestState | None:
        if self.now < self.over:
            return self.state
        ended = {
            RequestState.PENDING: RequestState.EXPIRED,
            RequestState.APPROVED: RequestState.ENDED,
        }
        return ended.get(self.state, self.state) if self.state else None

    @rule(minutes=st.sampled_from([1, 60, 7 * 24 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule()
    def ask(self) -> None:
        open_already = self.standing is RequestState.PENDING
        try:
            made = ask(self.store, ANN, self.socket, limits=UNLIMITED, created_at=self.now)
        except Conflict:
            assert open_already
            return
        assert not open_already
        self.request_id, self.state, self.over = made.request_id, made.state, made.over_at
        self.approved_by = {}

    @precondition(lambda self: self.state is not None)
    @rule(who=st.sampled_from(PEOPLE), minutes=st.sampled_from([None, 5, 90]))
    def approve(self, who: str, minutes: int | None) -> None:
        allowed = who in {"owner", "bea"}
        fits = self.standing is RequestState.PENDING and who not in self.approved_by
        try:
            done = self.store.approve_access_request(
                self.request_id, self.people[who], minutes=minutes, note="", now=self.now
            )
        except NotFound:
            assert not allowed
            return
        except Conflict:
            assert allowed
            assert not fits
            return
        assert allowed
        assert fits
        self.approved_by[who] = min(minutes or 60, 60)
        if len(self.approved_by) == self.needed:
            self.state = RequestState.APPROVED
            self.over = self.now + timedelta(minutes=min(self.approved_by.values()))
        assert done.state is self.state

    @precondition(lambda self: self.state is not None)
    @rule(who=st.sampled_from(PEOPLE), verb=st.sampled_from(["deny", "revoke", "cancel"]))
    def end(self, who: str, verb: str) -> None:
        allowed = who in ({"ann"} if verb == "cancel" else {"owner", "bea"})
        fits = (
            self.standing
            in {
                "deny": {RequestState.PENDING},
                "revoke": {RequestState.APPROVED},
                "cancel": {RequestState.PENDING, RequestState.APPROVED},
            }[verb]
        )
        answer = getattr(self.store, f"{verb}_access_request")
        try:
            answer(self.request_id, self.people[who], note="", now=self.now)
        except (NotFound, Forbidden):
            assert not allowed
        except Conflict:
            assert allowed
            assert not fits
        else:
            assert allowed
            assert fits
            closed = {"deny": "denied", "revoke": "revoked", "cancel": "cancelled"}[verb]
            self.state, self.over = RequestState(closed), self.now

    @invariant()
    def it_lets_in_exactly_while_it_is_approved(self) -> None:
        if self.state is None:
            return
        found = self.store.find_access_request(self.request_id)
        assert found is not None
        assert found.state_at(self.now) is self.standing
        in_force = self.store.approved_on([self.socket.socket_id], self.now)
        approved = self.standing is RequestState.APPROVED
        assert (self.request_id in {one.request_id for one in in_force}) is approved
        assert all(one.state_at(self.now) is RequestState.APPROVED for one in in_force)

    def teardown(self) -> None:
        self.store.database.close()
        self.folder.cleanup()


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)

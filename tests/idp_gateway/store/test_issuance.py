"""Keys, certificates and decisions on record, on both databases."""

import pytest

from idp_gateway.errors import Conflict
from idp_gateway.records import CertificateKind, DecisionRecord, SigningKeyRecord
from idp_gateway.store import Store
from policy.types import Action, Effect
from tests.support.rows import NOW, certificate, race


def key(key_id: str) -> SigningKeyRecord:
    return SigningKeyRecord(
        purpose="api+jwt",
        key_id=key_id,
        public={"kty": "EC"},
        private_sealed=b"\x01\x00\xff",
        created_at=NOW,
    )


def test_a_purpose_has_one_key_whoever_asks_first(store: Store) -> None:
    results = race(
        [lambda n=number: store.signing_key("api+jwt", lambda: key(f"k{n}")) for number in range(6)]
    )
    assert len({one.key_id for one in results}) == 1
    assert store.signing_key("api+jwt", lambda: pytest.fail("made again")) == results[0]


def test_a_serial_number_is_given_out_once(store: Store) -> None:
    kept = certificate(serial="ff00", socket_id="s", epoch=3)
    store.record_certificate(kept)
    with pytest.raises(Conflict):
        store.record_certificate(certificate(serial="ff00", kind=CertificateKind.SSH_USER))
    assert store.find_certificate("ff00") == kept
    assert store.find_certificate("ff01") is None
    assert store.certificates_of("s") == (kept,)


def test_of_racing_issuances_with_one_serial_one_is_kept(store: Store) -> None:
    wanted = [certificate(serial="abc") for _ in range(6)]
    results = race([lambda c=one: store.record_certificate(c) for one in wanted])
    assert sum(one is None for one in results) == 1
    assert sum(isinstance(one, Conflict) for one in results) == 5


def test_a_decision_comes_back_as_it_was_kept(store: Store) -> None:
    decision = DecisionRecord(
        decision_id="d1",
        at=NOW,
        effect=Effect.DENY,
        reasons=("not-on-list",),
        issuer="https://idp.test",
        subject="1",
        email=None,
        socket_id="s",
        action=Action.TLS,
        source_ip="2001:db8::1",
    )
    store.record_decision(decision)
    assert store.find_decision("d1") == decision
    assert store.find_decision("d2") is None

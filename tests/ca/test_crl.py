"""Revocation lists say what was asked, whoever signs them, or are not released."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography import x509 as cryptography_x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from ca import crl, errors, x509
from ca.crl import RevokedX509, make_crl
from ca.serials import MAX_X509_SERIAL, x509_serial
from ca.signers import MemorySigner
from ca.specs import ISSUING_LIFE, CaCertSpec
from tests.support.subjects import ec_key, server_spec

NOW = datetime.fromisoformat("2026-11-23T12:00:00Z")
HOUR = timedelta(hours=1)
KEYS: dict[str, Callable[[], Any]] = {
    "p256": ec_key,
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
}


def issuer(key: Any) -> x509.Issuer:
    spec = CaCertSpec(
        common_name="a ca",
        serial=x509_serial(),
        not_before=NOW,
        not_after=NOW + ISSUING_LIFE,
    )
    return x509.make_root(MemorySigner(name="a signer", signing_key=key), spec)


ISSUER = issuer(ec_key())


def crl_of(*serials: int, by: x509.Issuer = ISSUER, **changes: Any) -> bytes:
    values: dict[str, Any] = {
        "number": 1,
        "revoked": [RevokedX509(serial=serial, at=NOW) for serial in serials],
        "this_update": NOW,
        "next_update": NOW + HOUR,
    }
    return make_crl(by, **(values | changes))


@pytest.mark.parametrize("make_key", KEYS.values(), ids=KEYS.keys())
def test_every_kind_of_ca_key_signs(make_key: Callable[[], Any]) -> None:
    by = issuer(make_key())
    der = crl_of(3, 2, by=by, number=9)
    read = cryptography_x509.load_der_x509_crl(der)
    assert read.is_signature_valid(by.signer.public_key)
    assert read.issuer == by.certificate.subject
    assert [one.serial_number for one in read] == [2, 3]
    assert [one.revocation_date_utc for one in read] == [NOW, NOW]
    assert (read.last_update_utc, read.next_update_utc) == (NOW, NOW + HOUR)
    number = read.extensions.get_extension_for_class(cryptography_x509.CRLNumber)
    assert (number.value.crl_number, number.critical) == (9, False)
    authority = read.extensions.get_extension_for_class(cryptography_x509.AuthorityKeyIdentifier)
    assert authority.value == x509.authority_key_identifier(by.certificate)
    assert len(read.extensions) == 2


def test_only_who_says_so_gets_a_list_that_lives_longer() -> None:
    """The root's key may be in a safe."""
    life = crl.MAX_CRL_LIFE + HOUR
    with pytest.raises(errors.ValidityError):
        crl_of(next_update=NOW + life)
    read = cryptography_x509.load_der_x509_crl(crl_of(next_update=NOW + life, longest=life))
    assert read.next_update_utc == NOW + life
    with pytest.raises(errors.ValidityError):
        crl_of(next_update=NOW + life + HOUR, longest=life)


def test_an_empty_list_is_a_list() -> None:
    assert list(cryptography_x509.load_der_x509_crl(crl_of())) == []


def test_no_entry_says_why() -> None:
    """RFC 5280 §5.3.1: "unspecified" is left out, and it is all there would be to say."""
    [entry] = cryptography_x509.load_der_x509_crl(crl_of(5))
    assert len(entry.extensions) == 0


def test_times_are_kept_in_utc_and_whole_seconds() -> None:
    moment = NOW.replace(microsecond=7).astimezone(timezone(timedelta(hours=2)))
    der = crl_of(this_update=moment, revoked=[RevokedX509(serial=1, at=moment)])
    read = cryptography_x509.load_der_x509_crl(der)
    assert read.last_update_utc == NOW
    assert next(iter(read)).revocation_date_utc == NOW


@given(
    st.dictionaries(st.integers(1, MAX_X509_SERIAL), st.integers(0, 10**9), max_size=40),
    st.integers(0, MAX_X509_SERIAL),
)
def test_every_list_comes_back_from_its_bytes(ages: dict[int, int], number: int) -> None:
    revoked = [
        RevokedX509(serial=serial, at=NOW - timedelta(seconds=age)) for serial, age in ages.items()
    ]
    read = cryptography_x509.load_der_x509_crl(crl_of(revoked=revoked, number=number))
    assert {one.serial_number: one.revocation_date_utc for one in read} == {
        one.serial: one.at for one in revoked
    }


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"number": -1}, "serial-invalid"),
        ({"number": 2**159}, "serial-invalid"),
        ({"number": True}, "serial-invalid"),
        ({"revoked": [RevokedX509(serial=0, at=NOW)]}, "serial-invalid"),
        ({"revoked": [RevokedX509(serial=-1, at=NOW)]}, "serial-invalid"),
        ({"revoked": [RevokedX509(serial=2**159, at=NOW)]}, "serial-invalid"),
        ({"revoked": 2 * [RevokedX509(serial=1, at=NOW)]}, "serial-invalid"),
        ({"revoked": [RevokedX509(serial=1, at=NOW.replace(tzinfo=None))]}, "validity-invalid"),
        ({"this_update": NOW.replace(tzinfo=None)}, "validity-invalid"),
        ({"next_update": NOW}, "validity-invalid"),
        ({"next_update": NOW + crl.MAX_CRL_LIFE + timedelta(seconds=1)}, "validity-invalid"),
    ],
)
def test_no_such_list(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.SpecError) as caught:
        crl_of(**changes)
    assert caught.value.reason == reason


def test_a_list_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl, "MAX_REVOKED", 3)
    crl_of(1, 2, 3)
    with pytest.raises(errors.SerialError, match="at most 3"):
        crl_of(1, 2, 3, 4)


def test_what_is_no_ca_signs_no_list() -> None:
    leaf = x509.issue_server_certificate(ISSUER, server_spec(NOW))
    pretended = object.__new__(x509.Issuer)
    object.__setattr__(pretended, "certificate", leaf.certificate)
    object.__setattr__(pretended, "signer", ISSUER.signer)
    with pytest.raises(errors.IssuanceError, match="does not sign revocation lists"):
        crl_of(by=pretended)


def test_a_signer_that_fails_is_a_typed_error() -> None:
    class Empty:
        name = "empty"
        public_key = ISSUER.signer.public_key
        signing_key = None

    broken = x509.Issuer(certificate=ISSUER.certificate, signer=Empty())  # type: ignore[arg-type]
    with pytest.raises(errors.IssuanceError, match="empty did not sign"):
        crl_of(by=broken)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"number": 2}, "extensions"),
        ({"revoked": []}, "entries"),
        ({"next_update": NOW + 2 * HOUR}, "window"),
        ({"by": issuer(ec_key())}, "extensions"),
    ],
)
def test_a_list_that_differs_is_not_released(
    changes: dict[str, Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = crl_of(7, **changes)
    monkeypatch.setattr(crl, "_sign", lambda *_: other)
    with pytest.raises(errors.SelfCheckError, match=f"not as asked: .*{field}"):
        crl_of(7)


def test_a_list_of_another_key_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same names and same key identifier, another signature."""
    honest, impostor = crl._sign, MemorySigner(name="impostor", signing_key=ec_key())

    def sign(by: x509.Issuer, *rest: Any) -> bytes:
        wrong = object.__new__(x509.Issuer)
        object.__setattr__(wrong, "certificate", by.certificate)
        object.__setattr__(wrong, "signer", impostor)
        return honest(wrong, *rest)

    monkeypatch.setattr(crl, "_sign", sign)
    with pytest.raises(errors.SelfCheckError, match="signature"):
        crl_of(7)


class Counting:
    """A signer that says how often its key was used."""

    def __init__(self) -> None:
        self._signer = MemorySigner(name="counting", signing_key=ec_key())
        self.used = 0
        self.name, self.public_key = self._signer.name, self._signer.public_key

    @property
    def signing_key(self) -> Any:
        self.used += 1
        return self._signer.signing_key


def test_asking_again_costs_no_signature() -> None:
    signer, other = Counting(), issuer(ec_key())
    by = issuer(signer.signing_key)
    counted = x509.Issuer(certificate=by.certificate, signer=signer)
    signer.used = 0
    kept = crl.KeptCrls(timedelta(days=7))
    entry = RevokedX509(serial=5, at=NOW)
    first = kept.current(counted, [entry], NOW, position=1)
    kept.current(other, [entry], NOW, position=1)
    assert kept.current(counted, [entry], NOW + HOUR - timedelta(seconds=1), position=1) == first
    assert signer.used == 1


@pytest.mark.parametrize(
    ("revoked", "later"),
    [
        ([], timedelta(seconds=1)),
        ([RevokedX509(serial=5, at=NOW), RevokedX509(serial=6, at=NOW)], timedelta(seconds=1)),
        ([RevokedX509(serial=5, at=NOW)], HOUR),
        ([RevokedX509(serial=5, at=NOW)], -timedelta(seconds=1)),
    ],
    ids=["lifted", "one more", "an hour old", "clock went back"],
)
def test_a_list_is_made_anew_when_it_should_be(
    revoked: list[RevokedX509], later: timedelta
) -> None:
    kept = crl.KeptCrls(timedelta(days=7))
    first = kept.current(ISSUER, [RevokedX509(serial=5, at=NOW)], NOW, position=1)
    second = kept.current(ISSUER, revoked, NOW + later, position=1)
    read = cryptography_x509.load_der_x509_crl(second)
    assert second != first
    assert [one.serial_number for one in read] == [one.serial for one in revoked]
    assert read.next_update_utc == NOW + later + timedelta(days=7)
    assert number_of(second) > number_of(first)


def number_of(der: bytes) -> int:
    read = cryptography_x509.load_der_x509_crl(der)
    return read.extensions.get_extension_for_class(cryptography_x509.CRLNumber).value.crl_number


def test_the_number_grows_with_what_is_revoked_and_no_clock_takes_it_back() -> None:
    """Also between gateways; and beyond the numbers of before, which were the time alone."""
    entries = [RevokedX509(serial=serial, at=NOW) for serial in range(1, 5)]
    numbers = []
    for position, hours in enumerate((0, 5, -5, 0), start=1):
        at = NOW + hours * HOUR
        another = crl.KeptCrls(timedelta(days=7))
        numbers.append(
            number_of(another.current(ISSUER, entries[:position], at, position=position))
        )
    assert numbers == sorted(set(numbers))
    assert int((NOW + timedelta(days=10_000)).timestamp() * 1000) < numbers[0]


def test_lists_that_say_the_same_have_different_numbers() -> None:
    kept = crl.KeptCrls(timedelta(days=7))
    times = [NOW, NOW - HOUR, NOW - HOUR + timedelta(milliseconds=1), NOW + 2 * HOUR]
    numbers = [number_of(kept.current(ISSUER, [], at, position=7)) for at in times]
    assert numbers[0] < numbers[1] <= numbers[2] < numbers[3]
    assert number_of(kept.current(ISSUER, [], NOW, position=8)) > numbers[3]


def test_lists_of_few_cas_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crl, "MAX_KEPT", 2)
    kept = crl.KeptCrls(timedelta(days=7))
    for _ in range(5):
        kept.current(issuer(ec_key()), [], NOW, position=1)
    assert len(kept._kept) <= 2

"""Certificate revocation lists (RFC 5280 §5) of the issuing CA, and of the root.

Version 2, with the two extensions every such list has: authority key identifier and a number that
grows. No reason is written: none would say more than "revoked", and RFC 5280 §5.3.1 wants
"unspecified" left out. A list is read back from its own bytes and compared before it is returned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ca import errors
from ca.serials import MAX_X509_SERIAL
from ca.x509 import Issuer, authority_key_identifier, digest_for

MAX_REVOKED = 1_000_000
"""Entries of one list, about 40 MB; more than that is a reason for a new CA, not for a list."""
MAX_KEPT = 16
"""CAs whose lists are kept; more than are ever trusted at a time."""
_TIME_BITS = 44
"""Of a list's number: milliseconds since 1970, for five hundred years."""
MAX_CRL_LIFE = timedelta(days=31)
"""A list that lives longer hides that its source has gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokedX509:
    """One certificate that is no longer good."""

    serial: int
    at: datetime
    """When it was revoked; aware, kept in whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    made_at: datetime
    revoked: tuple[RevokedX509, ...]
    number: int
    der: bytes


class KeptCrls:
    """The latest list of each CA, so that asking for it again costs no signature.

    Anybody may ask for a list, and a key in a token signs slowly. A list is made anew when what is
    revoked has changed, or when it is ``refresh`` old. For several threads at once.

    Its number is first how far everything had come, which grows with each revocation, whatever
    clocks do and whichever gateway makes the list; then, of lists that say the same, the time.
    """

    def __init__(self, life: timedelta, refresh: timedelta = timedelta(hours=1)) -> None:
        """``life``: how long a list is good for; ``refresh``: after which age it is made anew."""
        self._life = life
        self._refresh = refresh
        self._lock = Lock()
        self._kept: dict[int, _Kept] = {}

    def current(
        self, issuer: Issuer, revoked: Sequence[RevokedX509], now: datetime, *, position: int
    ) -> bytes:
        """The list that holds now; ``position`` is how far everything had come before it was looked
        up what is revoked. It raises as ``make_crl``.
        """
        serial, wanted = issuer.certificate.serial_number, tuple(revoked)
        with self._lock:
            kept = self._kept.get(serial)
            is_same = kept is not None and kept.revoked == wanted
            if kept is not None and is_same and timedelta(0) <= now - kept.made_at < self._refresh:
                return kept.der
            number = position << _TIME_BITS | int(now.timestamp() * 1000)
            if kept is not None:
                number = max(number, kept.number + 1)
            der = make_crl(
                issuer,
                number=number,
                revoked=wanted,
                this_update=now,
                next_update=now + self._life,
            )
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[serial] = _Kept(made_at=now, revoked=wanted, number=number, der=der)
            return der


def make_crl(
    issuer: Issuer,
    *,
    number: int,
    revoked: Sequence[RevokedX509],
    this_update: datetime,
    next_update: datetime,
    longest: timedelta = MAX_CRL_LIFE,
) -> bytes:
    """A signed list as DER; entries are ordered by serial, so equal input gives equal content.

    ``number`` must grow with every list of the same CA; that is the caller's to keep. ``longest``
    is how long it may be good for.

    Raises:
        SerialError: a serial or the number is out of range, named twice, or there are too many.
        ValidityError: a time without zone, an end before the start, or too long a life.
        IssuanceError: the signer failed, or the CA may not sign lists.
        SelfCheckError: the finished list is not what was asked for.
    """
    entries = _settled_entries(revoked)
    start, end = _settled(this_update), _settled(next_update)
    if not start < end <= start + longest:
        raise errors.ValidityError(f"a list ends after it starts, within {longest}")
    if isinstance(number, bool) or not 0 <= number <= MAX_X509_SERIAL:
        raise errors.SerialError("a list's number has up to 20 octets")
    _check_may_sign(issuer.certificate)
    der = _sign(issuer, number, entries, start, end)
    _check_finished(der, issuer, number, entries, (start, end))
    return der


def _settled_entries(revoked: Sequence[RevokedX509]) -> dict[int, datetime]:
    if len(revoked) > MAX_REVOKED:
        raise errors.SerialError(f"a list has at most {MAX_REVOKED} entries")
    entries = {entry.serial: _settled(entry.at) for entry in revoked}
    if len(entries) != len(revoked):
        raise errors.SerialError("a serial number is named once")
    if any(isinstance(serial, bool) or not 1 <= serial <= MAX_X509_SERIAL for serial in entries):
        raise errors.SerialError("a serial number is positive and has up to 20 octets")
    return dict(sorted(entries.items()))


def _settled(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise errors.ValidityError("a list's times have a time zone")
    return moment.astimezone(UTC).replace(microsecond=0)


def _check_may_sign(certificate: x509.Certificate) -> None:
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    if not usage.crl_sign:
        raise errors.IssuanceError("this CA does not sign revocation lists")


def _sign(
    issuer: Issuer, number: int, entries: dict[int, datetime], start: datetime, end: datetime
) -> bytes:
    # Handed over at once: the builder's own method copies the whole list for each entry.
    revoked = [
        x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        for serial, at in entries.items()
    ]
    builder = (
        x509.CertificateRevocationListBuilder(revoked_certificates=revoked)
        .issuer_name(issuer.certificate.subject)
        .last_update(start)
        .next_update(end)
        .add_extension(authority_key_identifier(issuer.certificate), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    try:
        signed = builder.sign(issuer.signer.signing_key, digest_for(issuer.signer.public_key))
    except errors.CaError:
        raise
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise errors.IssuanceError(f"the CA {issuer.signer.name} did not sign") from error
    return signed.public_bytes(serialization.Encoding.DER)


def _check_finished(
    der: bytes,
    issuer: Issuer,
    number: int,
    entries: dict[int, datetime],
    window: tuple[datetime, datetime],
) -> None:
    crl = x509.load_der_x509_crl(der)
    extensions = [
        (authority_key_identifier(issuer.certificate), False),
        (x509.CRLNumber(number), False),
    ]
    found: dict[str, tuple[object, object]] = {
        "issuer": (crl.issuer, issuer.certificate.subject),
        "window": ((crl.last_update_utc, crl.next_update_utc), window),
        "entries": (
            [(one.serial_number, one.revocation_date_utc) for one in crl],
            [*entries.items()],
        ),
        "extensions": ([(one.value, one.critical) for one in crl.extensions], extensions),
    }
    differing = [name for name, (is_, should_be) in found.items() if is_ != should_be]
    if differing:
        raise errors.SelfCheckError(f"not as asked: {', '.join(differing)}")
    try:
        fits = crl.is_signature_valid(issuer.signer.public_key)
    except (TypeError, InvalidSignature, UnsupportedAlgorithm):
        fits = False
    if not fits:
        raise errors.SelfCheckError("the CA's signature does not fit")

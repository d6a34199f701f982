"""Browser state that only the gateway reads: signed, each kind with a salt of its own.

A value signed for one purpose does not verify for another, however alike the two look, and each
carries its own end. A form's token is also tied to a random cookie of the browser it was made for,
so that nobody can submit it from elsewhere (double submit, signed).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadSignature, URLSafeSerializer

from idp_gateway.errors import Forbidden, InvalidInput
from idp_gateway.targets import ReturnTo

FORM_LIFE = timedelta(hours=1)
"""How long a page may lie open before its form is refused."""
RETURN_LIFE = timedelta(hours=1)
MAX_SIGNED_LENGTH = 16 * 1024

SAME_ORIGIN = frozenset({"same-origin", "none"})


class SignatureRefused(InvalidInput):
    """Signed state that is changed, too old, or made for something else."""

    reason = "state-invalid"


class FormRefused(Forbidden):
    """A form that did not come from the page we made for this browser."""

    reason = "form-refused"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs and reads browser state under one secret."""

    secret: bytes = field(repr=False)

    def sign(self, purpose: str, value: Mapping[str, Any], *, until: datetime) -> str:
        """``value`` as URL-safe text that verifies for ``purpose`` until then."""
        return self._serializer(purpose).dumps([int(until.timestamp()), dict(value)])

    def read(self, purpose: str, text: str, *, now: datetime) -> dict[str, Any]:
        """The value that was signed.

        Raises:
            SignatureRefused: not ours, for another purpose, or its time is over.
        """
        message = "This page is too old or was changed. Please start again."
        if len(text) > MAX_SIGNED_LENGTH:
            raise SignatureRefused(message)
        try:
            until, value = self._serializer(purpose).loads(text)
        except (BadSignature, ValueError, TypeError) as error:
            raise SignatureRefused(message) from error
        if now.timestamp() >= until:
            raise SignatureRefused(message)
        return dict(value)

    def sign_return(self, target: ReturnTo, *, now: datetime) -> str:
        """Where a login goes on, for a link or a hidden field; empty for the start page."""
        if target == ReturnTo():
            return ""
        return self.sign("return-to", {"path": target.path}, until=now + RETURN_LIFE)

    def read_return(self, text: str, *, now: datetime) -> ReturnTo:
        """What ``sign_return`` was given.

        Raises:
            SignatureRefused: see ``read``.
        """
        return ReturnTo.parse(self.read("return-to", text, now=now)["path"]) if text else ReturnTo()

    def form_token(self, purpose: str, browser: str, *, now: datetime) -> str:
        """Hidden field of a form: binds it to a browser (its form cookie) and to one purpose."""
        return self.sign(f"form.{purpose}", {"b": _digest(browser)}, until=now + FORM_LIFE)

    def check_form(
        self, purpose: str, token: str, *, browser: str, fetch_site: str | None, now: datetime
    ) -> None:
        """Let a submitted form through, or not.

        ``fetch_site`` is the ``Sec-Fetch-Site`` header, where the browser sends one. ``Origin`` is
        of no use: under ``Referrer-Policy: no-referrer`` it is ``null`` on our own forms too.

        Raises:
            FormRefused: the token is not for this browser and purpose, or came from elsewhere.
        """
        refused = FormRefused("This form was not sent from its own page. Please start again.")
        if fetch_site is not None and fetch_site not in SAME_ORIGIN:
            raise refused
        try:
            value = self.read(f"form.{purpose}", token, now=now)
        except SignatureRefused as error:
            raise refused from error
        if not browser or not hmac.compare_digest(str(value.get("b")), _digest(browser)):
            raise refused

    def _serializer(self, purpose: str) -> URLSafeSerializer:
        return URLSafeSerializer(
            self.secret,
            salt=f"mysocket.{purpose}",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )


def browser_signer(master_key: bytes) -> Signer:
    """The signer of every gateway that has this master key (HKDF, RFC 5869)."""
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"mysocket browser 1")
    return Signer(derive.derive(master_key))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()

"""The gateway's own accounts as a way to say who somebody is.

Not a place to send a browser to, so not an ``IdentityProvider``: the login page has the form, and
``accounts.authenticate`` the rules. The e-mail counts only if an operator vouched for it.
"""

from datetime import datetime

from idp_gateway.records import AccountRecord
from policy.addresses import EmailAddress
from policy.types import Assurance, Identity

LABEL = "a local account"
NAME = "local"
"""What policies call this way to sign in; no configured provider may have the name."""


def local_identity(account: AccountRecord, *, issuer: str, now: datetime) -> Identity:
    """The identity of an account whose password was checked a moment ago.

    ``issuer`` is the gateway's own base address; the subject is the account's id.
    """
    email = EmailAddress.parse(account.email) if account.email_verified else None
    return Identity(
        issuer=issuer,
        subject=account.account_id,
        provider=NAME,
        email=email,
        name=account.name or account.email,
        assurance=Assurance.LOCAL_PASSWORD,
        authenticated_at=now,
    )

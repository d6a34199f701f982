"""Bodies of ``/socket/{socket_id}/revocation``."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from idp_gateway.records import RevocationScope
from idp_gateway.schemas.text import ShortText


class RevocationForm(BaseModel):
    """What to take back."""

    scope: RevocationScope = Field(
        description="`person`, `key`, `serial`, or `socket` for every certificate up to now."
    )
    value: Annotated[ShortText, Field(max_length=255)] = Field(
        default="",
        description="An e-mail address; a key's fingerprint (`SHA256:…`, or 64 hex digits for the"
        " key of a TLS client); a serial number; nothing for a whole socket.",
        examples=["mallory@example.org"],
    )
    reason: ShortText = Field(default="", description="For the record, in your words.")


class RevocationReply(BaseModel):
    """One revocation; a person or key stays out until it is lifted."""

    revocation_id: str
    scope: str
    value: str = Field(description="For a whole socket, the epoch that ended.")
    reason: str
    created_by: str
    created_at: datetime
    lifted_at: datetime | None = Field(description="When the person or key was readmitted.")
    certificates: int | None = Field(
        default=None,
        description="When it is made: certificates that are still good and are on the lists now"
        " because of it. None may mean a slip of the pen.",
    )

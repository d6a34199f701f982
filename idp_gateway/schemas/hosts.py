"""Bodies of ``/socket/{socket_id}/host`` and ``/hosts/sync``."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from ca.formats.host_messages import MAX_LIST, NONCE_PATTERN
from ca.formats.sshsig import MAX_SSHSIG_BYTES
from idp_gateway.schemas.keys import LOG_PROOF
from idp_gateway.schemas.text import MAX_PUBLIC_KEY_LENGTH, Name, PublicKeyLine

_UnixSeconds = Annotated[int, Field(ge=0, lt=1 << 40, description="Unix seconds.")]
_Signature = Annotated[
    str,
    Field(
        max_length=MAX_SSHSIG_BYTES,
        pattern=r"^[\x20-\x7e\r\n]*$",
        description="Armored SSHSIG by the host key.",
    ),
]
_Principal = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9.-]+$")]
_Fingerprint = Annotated[str, Field(pattern=r"^SHA256:[A-Za-z0-9+/]{43}$")]


class EnrolForm(BaseModel):
    """A server that belongs behind one's socket, proved by its host key."""

    name: Name = Field(description="What you call the server.", examples=["db1"])
    host_key: PublicKeyLine = Field(description="Its public host key, one line.")
    principals: list[_Principal] = Field(
        default=[],
        max_length=MAX_LIST,
        description="Names clients dial: the socket's own or below it; empty is the socket's own.",
    )
    at: _UnixSeconds
    proof: _Signature


class EnrolReply(BaseModel):
    """An enrolled host, and what its sshd needs first."""

    host_id: str
    dns_name: str
    host_certificate: str = Field(description="For `HostCertificate`, one line.")
    bundle_key: str = Field(description="What later bundles are signed with, one line.")
    not_after: datetime
    log_proof: dict[str, Any] | None = LOG_PROOF


class HostReply(BaseModel):
    """A host as its socket's owner sees it."""

    host_id: str
    name: str
    fingerprint: str
    principals: list[str]
    serial: str = Field(description="Of its newest host certificate.")
    not_after: datetime = Field(description="End of its newest host certificate.")
    enrolled_at: datetime
    seen_at: datetime = Field(description="When it last asked for news.")
    synced_number: int = Field(description="The newest bundle it says it has installed.")
    trusted_cas: list[str] = Field(description="Fingerprints of the user CAs its sshd trusts.")


class SyncForm(BaseModel):
    """What an enrolled host says when it asks for news."""

    host_id: Annotated[str, Field(pattern=r"^[0-9a-f-]{1,64}$")]
    nonce: Annotated[str, Field(pattern=f"^{NONCE_PATTERN}$")]
    at: _UnixSeconds
    number: Annotated[int, Field(ge=0, lt=1 << 63)] = Field(
        description="Of the newest bundle it has installed."
    )
    trusted_cas: list[_Fingerprint] = Field(max_length=MAX_LIST)
    certificate: Annotated[
        str, Field(max_length=MAX_PUBLIC_KEY_LENGTH, pattern=r"^[\x20-\x7e]*$")
    ] = Field(default="", description="Its present host certificate, one line.")
    signature: _Signature


class SyncReply(BaseModel):
    """Whom to trust and what is revoked, signed as one text."""

    bundle: str = Field(description="Canonical JSON; see the page on hosts.")
    signature: str = Field(description="Armored SSHSIG by the bundle key.")
    log_proof: dict[str, Any] | None = LOG_PROOF

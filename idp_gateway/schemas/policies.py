"""Bodies of ``/policies``, ``/policy`` and ``/prefix-lists``."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from idp_gateway.schemas.text import Identifier, LongText, Moment, Name, ShortText
from policy.prefix_files import MAX_PREFIXES
from policy.reading import MAX_BYTES

MAX_DOCUMENT_LENGTH = MAX_BYTES
"""Characters of a policy document."""
MAX_LIST_TEXT_LENGTH = 8 * 1024 * 1024
"""Characters of a published file of addresses."""
MAX_ACTIONS = 1_000

_ListName = Annotated[
    str, Field(max_length=64, pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$")
]
_Text = Annotated[str, Field(max_length=MAX_DOCUMENT_LENGTH)]
_Version = Annotated[int, Field(ge=0, le=2**31 - 1)]


class _Form(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True, strict=True)


class _DocumentForm(_Form):
    policy_data: dict[str, Any] | None = Field(
        default=None, description="The document; `policy_text` has lines to name in faults."
    )
    policy_text: _Text | None = Field(default=None, description="The document as YAML or JSON.")

    @property
    def has_document(self) -> bool:
        """Whether a document is given at all."""
        return self.policy_data is not None or self.policy_text is not None

    @model_validator(mode="after")
    def _one_document(self) -> Self:
        if self.policy_data is not None and self.policy_text is not None:
            raise PydanticCustomError(
                "policy-given-twice",
                "give policy_data or policy_text, not both",
                {"field": "policy_text"},
            )
        return self


class _WholeDocumentForm(_DocumentForm):
    @model_validator(mode="after")
    def _has_a_document(self) -> Self:
        if not self.has_document:
            raise PydanticCustomError(
                "policy-missing", "a policy needs its document", {"field": "policy_data"}
            )
        return self


class NewPolicyForm(_WholeDocumentForm):
    """What ``POST /policies`` takes."""

    name: Name
    description: LongText | None = None
    org_wide: bool = Field(
        default=False, description="Bear on every socket of the account that asks for an identity."
    )
    why: LongText | None = None


class PolicyChangeForm(_DocumentForm):
    """What ``PUT /policy/{policy_id}`` takes; ``null`` and absence mean "as it is"."""

    name: Name | None = None
    description: LongText | None = None
    org_wide: bool | None = None
    why: LongText | None = None
    version: _Version | None = Field(
        default=None, description="The version this change is based on; 409 if there is a newer."
    )


class RollbackForm(_Form):
    """What ``POST /policy/{policy_id}/rollback`` takes."""

    version: _Version = Field(description="The version whose document comes back.")
    newest: _Version | None = Field(default=None, description="409 if there is a newer one.")
    why: LongText | None = None


class AttachAction(_Form):
    """One socket, or one policy, to be attached or detached."""

    action: Literal["add", "remove"]
    id: Identifier


class AttachForm(_Form):
    """What ``PUT /policy/{id}/socket`` and ``PUT /socket/{id}/policy`` take."""

    actions: Annotated[list[AttachAction], Field(max_length=MAX_ACTIONS)]
    why: LongText | None = None


class ExplainForm(_Form):
    """What ``POST /policies/explain`` takes: somebody who might come."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True, populate_by_name=True)

    socket: Annotated[str, Field(max_length=253)] = Field(description="Id or name of a socket.")
    as_email: Annotated[str, Field(max_length=254)] | None = Field(default=None, alias="as")
    from_address: Annotated[str, Field(max_length=64)] | None = Field(default=None, alias="from")
    at: Annotated[Moment, Field(strict=False)] | None = None
    action: Literal["http", "tls", "ssh"] | None = None
    provider: ShortText | None = None
    subject: ShortText | None = None
    groups: Annotated[list[ShortText], Field(max_length=1000)] = []
    assurance: Literal["self-asserted", "local-password", "provider-verified"] | None = None
    country: Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")] | None = None
    asn: Annotated[int, Field(ge=1, le=2**32 - 1)] | None = None
    client_proof: bool = False
    service_account: ShortText | None = None
    session_minutes: Annotated[float, Field(ge=0, le=60 * 24 * 366)] = 0


class DiffForm(_WholeDocumentForm):
    """What ``POST /policies/diff`` takes: a policy as it might become."""

    policy_id: Identifier | None = None
    socket_ids: Annotated[list[Identifier], Field(max_length=MAX_ACTIONS)] | None = None
    org_wide: bool | None = None
    days: Annotated[float, Field(gt=0, le=3660)] = 30


_Prefixes = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    # Millions of faults would be written down, while nothing else is done.
    Field(max_length=MAX_PREFIXES, fail_fast=True),
]


class PrefixListForm(_Form):
    """What ``PUT /prefix-lists/{name}`` takes: a published file, or addresses."""

    text: Annotated[str, Field(max_length=MAX_LIST_TEXT_LENGTH)] | None = None
    prefixes: _Prefixes | None = None
    region: ShortText | None = None
    service: ShortText | None = None
    version: _Version | None = None
    why: LongText | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.text is None) == (self.prefixes is None):
            raise PydanticCustomError(
                "prefix-list-invalid", "give text or prefixes, one of them", {"field": "text"}
            )
        return self


ListName = _ListName


class PolicyReply(BaseModel):
    """A policy as it is in force."""

    id: str
    name: str
    description: str
    policy_data: dict[str, Any]
    socket_ids: list[str] = Field(description="The sockets it is attached to.")
    org_wide: bool
    version: int
    created_at: datetime
    updated_at: datetime


class PolicyVersionReply(BaseModel):
    """One entry of a policy's history."""

    version: int
    change: str = Field(examples=["created", "changed", "attached", "rolled-back"])
    at: datetime
    by: str
    why: str
    name: str
    description: str
    org_wide: bool
    socket_ids: list[str] = Field(description="Attached or detached by this change.")
    policy_data: dict[str, Any] | None


class ExplainReply(BaseModel):
    """What would be decided, and why."""

    socket_id: str
    dnsname: str
    effect: str
    reasons: list[str]
    policy_ids: list[str]
    expires_at: datetime | None
    sources: list[str] | None = Field(description="The only addresses it would be allowed from.")
    explanation: dict[str, Any]
    text: list[str]


class PrefixListReply(BaseModel):
    """A list without its addresses."""

    name: str
    version: int
    count: int
    source: str
    summary: dict[str, Any]
    updated_at: datetime
    by: str
    why: str


class WholePrefixListReply(PrefixListReply):
    """A list with its addresses."""

    prefixes: list[str]


class PrefixListVersionReply(BaseModel):
    """One entry of a list's history."""

    version: int
    change: str = Field(examples=["created", "changed", "deleted"])
    at: datetime
    by: str
    why: str
    source: str
    summary: dict[str, Any]
    prefixes: list[str] = Field(description="What the list held from then on.")

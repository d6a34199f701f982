"""Bodies of ``/socket`` and ``/connect``, spelled as the original clients spell them.

Fields this API does not know are ignored, as clients send back whole sockets with fields of their
own. Not so a field that begins like a rule about who may enter: there a slip of the pen would leave
a socket open.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from idp_gateway.schemas.text import DomainList, EmailList, LongText, Name, ShortText
from idp_gateway.schemas.tunnels import TunnelReply
from policy.types import SocketType

MAX_TAGS = 64

_RULE_PREFIXES = ("cloud_auth", "protected", "allowed", "identity", "ssh_key")
_SocketTypeWord = Annotated[SocketType, Field(strict=False)]
_Tags = Annotated[
    dict[Annotated[ShortText, Field(min_length=1)], LongText], Field(max_length=MAX_TAGS)
]
_HOST_PATTERN = (
    r"^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*(?::[0-9]{1,5})?$"
)
_Host = Annotated[str, Field(max_length=259, pattern=f"^$|{_HOST_PATTERN}")]
_Nothing = Annotated[list[Any], Field(max_length=0)]


class SocketFields(BaseModel):
    """What a client may say about a socket; ``null`` and absence mean "not said"."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    name: Name | None = Field(default=None, examples=["wiki of the lab"])
    socket_type: _SocketTypeWord | None = Field(
        default=None, description="Cannot change after creation; `http` unless said."
    )
    protected_socket: bool | None = Field(
        default=None, description="Ask for one shared user name and password (HTTP only)."
    )
    protected_username: ShortText | None = None
    protected_password: ShortText | None = None
    cloud_authentication_enabled: bool | None = Field(
        default=None, description="Admit only the people on the lists below; empty admits nobody."
    )
    cloud_authentication_email_allowed_addressses: EmailList | None = Field(
        default=None, description="Spelled with three d and three s since the first clients."
    )
    cloud_authentication_email_allowed_domains: DomainList | None = None
    ssh_key_proof_required: bool | None = Field(
        default=None,
        description="Certify an SSH key only with proof that its holder has it (TLS sockets).",
    )
    description: LongText | None = None
    upstream_username: ShortText | None = None
    upstream_password: ShortText | None = None
    upstream_http_hostname: _Host | None = Field(
        default=None, description="Host header for the origin, instead of the socket's name."
    )
    upstream_type: ShortText | None = None
    tags: _Tags | None = None
    private_socket: bool | None = None
    custom_domains: _Nothing | None = Field(default=None, description="Must be empty.")
    policy_names: Annotated[list[Name], Field(max_length=100)] | None = Field(
        default=None,
        description="Policies to attach to a new socket; of one that exists, only those it has.",
    )
    policies: Annotated[list[dict[str, Any]], Field(max_length=100)] | None = Field(
        default=None, description="Of a socket that exists, only the policies it has."
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_rules(cls, body: Any) -> Any:
        unknown = set(body) - cls.model_fields.keys() if isinstance(body, dict) else set()
        for name in sorted(map(str, unknown)):
            if name.lower().startswith(_RULE_PREFIXES):
                raise PydanticCustomError(
                    "unknown-rule",
                    "no such field; a rule about who gets in is never ignored",
                    # JSON can name a member what no encoding can write.
                    {"field": name.encode("ascii", "backslashreplace").decode("ascii")},
                )
        return body


class NewSocketForm(SocketFields):
    """What ``POST /socket`` and ``POST /connect`` take: a name at least."""

    @model_validator(mode="after")
    def _has_a_name(self) -> Self:
        if self.name is None:
            raise PydanticCustomError("name-missing", "a socket has a name", {"field": "name"})
        return self


class SocketChangeForm(SocketFields):
    """What ``PUT`` and ``PATCH /socket/{socket_id}`` take: only what changes."""

    @property
    def is_whole(self) -> bool:
        """Whether this is a whole socket, as the original clients ``PUT`` it.

        They leave empty lists out, so in a whole socket an absent list is an empty one.
        """
        return self.name is not None and self.socket_type is not None


class SocketReply(BaseModel):
    """A socket as its owner sees it."""

    socket_id: str
    dnsname: str = Field(
        description="Static public name.", examples=["calm-otter-4711.example.org"]
    )
    name: str
    socket_type: str
    socket_tcp_ports: list[int] = Field(
        description="HTTP and HTTPS port of the edge, or the own port of a TCP or TLS socket."
    )
    user_name: str = Field(description="SSH login of the tunnel server.")
    tunnels: list[TunnelReply]
    protected_socket: bool
    protected_username: str
    protected_password: str
    cloud_authentication_enabled: bool
    cloud_authentication_email_allowed_addressses: list[str]
    cloud_authentication_email_allowed_domains: list[str]
    ssh_ca: str = Field(description="For `TrustedUserCAKeys` of the origin's sshd (TLS sockets).")
    ssh_key_proof_required: bool
    description: str
    upstream_username: str
    upstream_password: str
    upstream_http_hostname: str
    upstream_type: str
    tags: dict[str, str]
    custom_domains: list[str] = []
    private_socket: bool
    policy_names: list[str] = []
    policies: list[dict[str, Any]] = []

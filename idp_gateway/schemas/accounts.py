"""Bodies of ``/user`` and ``/login``."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from idp_gateway.schemas.text import (
    MAX_PASSWORD_LENGTH,
    MAX_PUBLIC_KEY_LENGTH,
    MIN_PASSWORD_LENGTH,
    Email,
    Name,
)


class AccountForm(BaseModel):
    """What ``POST /user`` takes."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    name: Name = Field(description="How to address the person.", examples=["Alice Example"])
    email: Email = Field(description="Login name; plain ASCII.", examples=["alice@example.com"])
    password: Annotated[
        str, Field(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH)
    ] = Field(description="8 to 1024 characters.", examples=["correct horse battery staple"])
    sshkey: Annotated[str, Field(max_length=MAX_PUBLIC_KEY_LENGTH)] | None = Field(
        default="",
        description="Public key in `authorized_keys` form that may open tunnels, or empty.",
    )


class AccountReply(BaseModel):
    """An account as its owner sees it."""

    user_id: str = Field(description="UUID with dashes.")
    user_name: str = Field(description="SSH login of the tunnel server: the UUID without dashes.")
    name: str
    email: str
    email_verified: bool = Field(
        description="Whether somebody vouched for the address; only then does it open sockets."
    )
    sshkey: str


class LoginForm(BaseModel):
    """What ``POST /login`` takes."""

    model_config = ConfigDict(hide_input_in_errors=True, strict=True)

    email: Email = Field(examples=["alice@example.com"])
    password: Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]


class LoginReply(BaseModel):
    """An API token for the header ``x-access-token``."""

    token: str
    require_mfa: bool = False

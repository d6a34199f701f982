"""Types of options about policies: what is typed is checked before anything is asked."""

import re
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import click

from clients.mysocketctl.names import printable

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_WORD = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LIST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")


class TextType(click.ParamType[Any]):
    """Text on one line without control characters."""

    name = "text"

    def __init__(self, most: int) -> None:
        self._most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        if not text or len(text) > self._most or not text.isprintable():
            shown = printable(text, 40)
            self.fail(f"not 1 to {self._most} printable characters: {shown!r}", param, ctx)
        return text


class MomentType(click.ParamType[Any]):
    """A time with its offset (RFC 3339 §5.6)."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if not _RFC3339.fullmatch(text):
                raise ValueError  # noqa: TRY301 - one sentence for all that is wrong with it
            return datetime.fromisoformat(text.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            example = "2026-03-01T09:00:00+01:00"
            self.fail(
                f"not a time with its offset, as {example}: {printable(text, 60)!r}", param, ctx
            )


class AddressType(click.ParamType[Any]):
    """An IP address; no name, no network, no zone."""

    name = "ip"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> IPv4Address | IPv6Address:
        text = str(value).strip()
        try:
            if "%" in text:
                raise ValueError  # noqa: TRY301 - one sentence for all that is wrong with it
            return ip_address(text)
        except ValueError:
            self.fail(f"not an IP address: {printable(text, 60)!r}", param, ctx)


class EmailType(click.ParamType[Any]):
    """One address, as policies compare them: lower case."""

    name = "email"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from policy.addresses import EmailAddress  # noqa: PLC0415 - most commands need none
        from policy.errors import AddressError  # noqa: PLC0415

        try:
            return str(EmailAddress.parse(str(value).strip()))
        except AddressError as error:
            self.fail(printable(str(error), 200), param, ctx)


class GroupType(click.ParamType[Any]):
    """``<provider>:<group>``."""

    name = "group"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from policy.errors import AddressError  # noqa: PLC0415 - most commands need none
        from policy.names import GroupName  # noqa: PLC0415

        try:
            return str(GroupName.parse(str(value)))
        except AddressError as error:
            self.fail(printable(str(error), 200), param, ctx)


class WordType(click.ParamType[Any]):
    """One word of a few characters, as providers and prefix lists are called."""

    name = "word"

    def __init__(self, pattern: re.Pattern[str], characters: str) -> None:
        self._pattern, self._characters = pattern, characters

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not self._pattern.fullmatch(str(value)):
            shown = printable(str(value), 60)
            self.fail(f"not a word of {self._characters}: {shown!r}", param, ctx)
        return str(value)


class CountryType(click.ParamType[Any]):
    """ISO 3166-1 alpha-2, in capitals."""

    name = "country"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).upper()
        if not (len(text) == 2 and text.isascii() and text.isalpha()):
            self.fail(f"not a country of two letters: {printable(text, 40)!r}", param, ctx)
        return text


class ListFileType(click.ParamType[Any]):
    """``NAME=FILE``."""

    name = "name=file"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        name, _, file = str(value).partition("=")
        if not file or not _LIST_NAME.fullmatch(name):
            self.fail(f"not <list>=<file>: {printable(str(value), 60)!r}", param, ctx)
        return name, file


NAME = TextType(255)
WHY = TextType(1000)
MOMENT = MomentType()
ADDRESS = AddressType()
EMAIL = EmailType()
GROUP = GroupType()
PROVIDER = WordType(_WORD, "a-z, 0-9 and hyphens")
LIST_NAME = WordType(_LIST_NAME, "letters, digits, dots, hyphens and underscores")
COUNTRY = CountryType()
LIST_FILE = ListFileType()

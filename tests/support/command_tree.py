"""Every option and argument of a click program, with values that make no sense for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import click

CONTROL = "a\x1b[2J\u202eb"
"""Clears a terminal and turns the direction of writing around."""
OVERSIZE = "x" * 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One parameter of one command."""

    command: tuple[str, ...]
    parameter: click.Parameter
    others: tuple[click.Parameter, ...]
    """Parameters of the same command that must be there, too."""

    def __str__(self) -> str:
        return " ".join((*self.command, self.word or f"<{self.parameter.name}>"))

    @property
    def word(self) -> str:
        """How the option is spelled; empty for an argument."""
        return self.parameter.opts[0] if isinstance(self.parameter, click.Option) else ""

    @property
    def hostile(self) -> list[str]:
        """Values nobody could mean."""
        if isinstance(self.parameter, click.Option) and self.parameter.is_flag:
            return ["7"]
        if isinstance(self.parameter.type, click.IntRange | click.FloatRange):
            most = self.parameter.type.max
            return ["seven", "0x10", "-1", "", "nan", str(10**30 if most is None else most + 1)]
        if isinstance(self.parameter.type, click.Choice):
            return ["udp", "", CONTROL]
        if isinstance(self.parameter.type, click.Path):
            return ["/etc/hosts"]
        if self.parameter.name == "password":
            # Any short text may be one; it is hashed and never shown.
            return [OVERSIZE]
        return [CONTROL, OVERSIZE]

    def words(self, value: str) -> list[str]:
        """The parameter with this value, as typed; ``=`` so that flags get one, too."""
        return [f"{self.word}={value}"] if self.word else ["--", value]


def places(command: click.Command, *path: str) -> Iterator[Place]:
    """Every parameter below ``command``."""
    shown = [one for one in command.params if getattr(one, "hidden", False) is False]
    for parameter in shown:
        others = tuple(one for one in shown if one.required and one is not parameter)
        yield Place(command=path, parameter=parameter, others=others)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from places(below, *path, name)

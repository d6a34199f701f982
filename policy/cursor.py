"""A place in a document that is being read: typed access that notes faults instead of stopping."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from policy.errors import Fault, PolicyError
from policy.reading import child

T = TypeVar("T")
_SHOWN = 60


@dataclass(slots=True)
class Faults:
    """The faults found so far, and what is needed to place them."""

    lines: Mapping[str, int] = field(default_factory=dict)
    found: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Cursor:
    """One value, where it stands, and where to note what is wrong with it."""

    value: Any
    path: str
    faults: Faults

    def fault(self, message: str) -> None:
        line = self.line
        self.faults.found.append(Fault(self.path, line, message))

    @property
    def says_nothing(self) -> bool:
        """Whether it is an empty list, or a mapping of which every member is null."""
        if isinstance(self.value, dict):
            return all(member is None for member in self.value.values())
        return isinstance(self.value, list) and not self.value

    @property
    def line(self) -> int | None:
        """The line it begins on, or that of what it should be in."""
        path = self.path
        while path and path not in self.faults.lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.faults.lines.get(path)

    def members(self, known: Iterable[str]) -> dict[str, "Cursor"]:
        """The members that are not null; a key that is not ``known`` is a fault."""
        names = dict.fromkeys(known)  # in order; a document's own lists may be thousands
        if not isinstance(self.value, dict):
            self.fault(f"not a mapping: {shown(self.value)}")
            return {}
        found = {}
        for key, value in self.value.items():
            place = Cursor(value, child(self.path, str(key)), self.faults)
            if key not in names:
                place.fault(f"unknown key; known here: {', '.join(names)}")
            elif value is not None:
                found[key] = place
        return found

    def items(self) -> Iterator["Cursor"]:
        """The elements of a list."""
        if not isinstance(self.value, list):
            self.fault(f"not a list: {shown(self.value)}")
            return
        for number, value in enumerate(self.value):
            yield Cursor(value, child(self.path, number), self.faults)

    def entries(self, read: Callable[[str], T]) -> frozenset[T]:
        """The elements of a list of texts, each as ``read`` has it."""
        return frozenset(self.each(read))

    def each(self, read: Callable[[str], T]) -> Iterator[T]:
        """As ``entries``, in order and as often as they stand there."""
        return (one for item in self.items() for one in item.text(read))

    def text(self, read: Callable[[str], T]) -> tuple[T, ...]:
        """The text as ``read`` has it; nothing, and a fault, if it cannot be read."""
        if not isinstance(self.value, str):
            self.fault(f"not text: {shown(self.value)}")
            return ()
        try:
            return (read(self.value),)
        except PolicyError as error:
            self.fault(str(error))
            return ()

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.fault(f"neither true nor false: {shown(self.value)}")
            return False
        return self.value


def shown(value: Any) -> str:
    """A value in an error message, cut to a readable length."""
    if isinstance(value, str):
        return repr(value[:_SHOWN])
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "null" if value is None else str(value)[:_SHOWN]

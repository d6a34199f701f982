"""What edges are told of a socket's address rules, and what they know of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from idp_gateway.address_rules import CLOSED, AddressRules
from idp_gateway.ready_rules import key_of as _key_of_policies
from idp_gateway.records import SocketRecord
from policy.types import SocketType


class Key(NamedTuple):
    """What is another as soon as other rules bear on a socket."""

    kind: object
    epoch: int
    rules_version: int
    emails: tuple[str, ...]
    domains: tuple[str, ...]

    @property
    def version(self) -> int:
        """Of two keys of a socket the later one has the higher, in every gateway."""
        return self.epoch + self.rules_version


NO_KEY = Key(None, 0, 0, (), ())
"""Of rules that are no socket's."""


def key_of(socket: SocketRecord) -> Key:
    """The key of a socket's rules as it is now."""
    return Key(kind_of(socket), *_key_of_policies(socket))


def kind_of(socket: SocketRecord) -> object:
    """On which it depends what is told of rules: others are for no other kind."""
    return socket.socket_type, socket.cloud_authentication_enabled


@dataclass(frozen=True, slots=True)
class Told:
    """Rules that edges are told now."""

    key: Key
    rules: AddressRules
    at: datetime
    """When they were begun to be made: what has ended since may be in them."""
    number: int
    """Of two the one that was begun later has the higher."""

    @property
    def is_stopgap(self) -> bool:
        """Whether they could not be made, and the socket is closed until they can."""
        return self.rules is CLOSED

    def length(self, socket: SocketRecord) -> int:
        """How many characters edges are told."""
        return sum(map(len, self.rules.members(socket).values()))

    def is_right(self, key: Key, now: datetime) -> bool:
        """Whether they are those of ``key``, and nothing in them has ended since."""
        return self.key == key and not any(self.at < end <= now for end in self.rules.ends)


@dataclass(frozen=True, slots=True)
class Known:
    """What edges know of a socket's rules."""

    key: Key
    members: Mapping[str, str]
    number: int


def is_enforced(socket: SocketRecord) -> bool:
    """Whether edges hold its connections to rules about addresses."""
    return SocketType(socket.socket_type).has_own_port

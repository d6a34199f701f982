"""Networks that somebody else chose, as one value that can be compared and looked up.

Python hashes an IPv6 network as a number without a salt, so anybody can write thousands that all
have the same hash, and a set of those takes as many comparisons as there are pairs. Nothing here or
elsewhere puts networks by themselves into a set or a mapping: bytes stand for them, whose hash is
salted anew in each process.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Self

_Network = IPv4Network | IPv6Network


def network_key(network: _Network) -> bytes:
    """What stands for a network: another one for each. Sorted by it, networks are in the order of
    their addresses, IPv4 first, each before those that lie within it.
    """
    version, length = bytes((network.version,)), bytes((network.prefixlen,))
    return version + network.network_address.packed + length


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Networks(Collection[_Network]):
    """Immutable: each network once, in order. Equal ones name the same networks."""

    listed: tuple[_Network, ...] = ()
    """As ``of`` makes it."""
    _key: bytes = field(default=b"", repr=False)
    _hash: int = field(default=hash(b""), repr=False)

    @classmethod
    def of(cls, networks: Iterable[_Network]) -> Self:
        """All of ``networks``, in whatever order and however often they come."""
        by_key = {network_key(one): one for one in networks}
        keys = sorted(by_key)
        joined = b"".join(keys)
        return cls(tuple(by_key[key] for key in keys), joined, hash(joined))

    def __contains__(self, network: object) -> bool:
        """Whether it is named itself. Looks at each."""
        return network in self.listed

    def __iter__(self) -> Iterator[_Network]:
        return iter(self.listed)

    def __len__(self) -> int:
        return len(self.listed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Networks) and self._key == other._key

    def __hash__(self) -> int:
        return self._hash


NO_NETWORKS = Networks()

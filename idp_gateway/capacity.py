"""Threads of their own for what must not wait behind everything else.

All other routes share the framework's 40 threads. The edge's questions have some for themselves,
so that nobody with an account can make visitors of others wait; passwords have a few, as each check
takes 32 MiB and much of a processor, and those that wait for one hold no thread at all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")

DECISIONS = 16
"""Questions of edges answered side by side."""
PASSWORDS = 4
"""Passwords hashed side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much of what is done at a time."""

    decisions: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(DECISIONS))
    passwords: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(PASSWORDS))


async def in_thread(limiter: CapacityLimiter, work: Callable[[], Result]) -> Result:
    """``work()`` in a thread, as soon as ``limiter`` has one to spare."""
    return await to_thread.run_sync(work, limiter=limiter)

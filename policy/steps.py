"""How much work something is, counted as it is done."""

from policy.address_sets import AddressSet


class OutOfSteps(Exception):  # noqa: N818 - no fault of anybody's
    """More work is left than may be done."""


class Steps:
    """So many may still be taken: one for each interval of addresses that is looked at or made."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, *sets: AddressSet, more: int = 1) -> None:
        """Count what was done with ``sets``, and ``more``.

        Raises:
            OutOfSteps: that was the last; every further one raises as well.
        """
        self.left -= more + sum(len(one.v4) + len(one.v6) for one in sets)
        if self.left < 0:
            raise OutOfSteps

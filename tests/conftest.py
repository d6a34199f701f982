"""What holds for all tests."""

import pytest

LONGEST_FIRST = ("test_rotation.py", "test_outage.py", "test_readme_tour.py")
"""Files whose tests mostly wait, for minutes: begun last, they would be waited for alone."""
MAX_ID_LENGTH = 40


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their parameter alone; pytest numbers them.

    Keys made anew in each process would otherwise give each worker of pytest-xdist other names.
    """
    if isinstance(val, str | bytes) and len(val) > MAX_ID_LENGTH:
        return f"long-{argname}"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole flows first, and of those the longest; in each file the order stays."""

    def place(item: pytest.Item) -> tuple[bool, bool]:
        whole = item.path.parent.name == "e2e"
        return not (whole and item.path.name in LONGEST_FIRST), not whole

    items.sort(key=place)

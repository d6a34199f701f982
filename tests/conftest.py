"""What holds for all tests."""

MAX_ID_LENGTH = 40


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long values by their parameter alone; pytest numbers them.

    Keys made anew in each process would otherwise give each worker of pytest-xdist other names.
    """
    if isinstance(val, str | bytes) and len(val) > MAX_ID_LENGTH:
        return f"long-{argname}"
    return None

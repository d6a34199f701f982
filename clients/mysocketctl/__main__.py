"""Start of ``mysocketctl``: the fast path first, the full command line otherwise."""

import os
import sys

from clients.mysocketctl.quick import run_quick


def main() -> int:
    """Run the command line of this process; its exit code."""
    arguments = sys.argv[1:]
    outcome = run_quick(arguments, os.environ)
    if isinstance(outcome, int):
        return outcome
    from clients.mysocketctl.cli import run  # noqa: PLC0415

    return run(arguments, leftover=outcome)


if __name__ == "__main__":
    sys.exit(main())

"""Start of ``mysocket``."""

import sys

from clients.mysocket.cli import run


def main() -> int:
    """Run the command line of this process; its exit code."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

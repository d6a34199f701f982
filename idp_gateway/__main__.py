"""Start of ``python -m idp_gateway``, which says so when the server's libraries are missing."""

import gc
import sys
from importlib.util import find_spec

SERVER_LIBRARIES = ("fastapi", "sqlmodel", "uvicorn")


def main() -> None:
    """Run the command line of this process."""
    if not all(map(find_spec, SERVER_LIBRARIES)):
        sys.exit("gateway: the server is not installed; install mysocket[server]")
    gc.disable()  # nothing that an import makes is garbage
    # Imported here, for these libraries are what it begins with.
    from idp_gateway.commands import main as run  # noqa: PLC0415

    gc.enable()
    run()


if __name__ == "__main__":
    main()

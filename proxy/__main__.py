"""Start of ``python -m proxy``, which says so when the server's libraries are missing."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec

SERVER_LIBRARIES = ("grpc", "pydantic_settings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status."""
    if not all(map(find_spec, SERVER_LIBRARIES)):
        sys.stderr.write("edge: the server is not installed; install mysocket[server]\n")
        return 1
    # Read when the library is imported. The edge starts Envoy by exec, which needs none of gRPC's
    # care for forks and would have it complain into the log each time.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
    from proxy.command import main as run  # noqa: PLC0415 - after the line above

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())

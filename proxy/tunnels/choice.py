"""From the name of a tunnel backend in the settings to what makes one."""

from collections.abc import Mapping
from importlib.metadata import entry_points

from proxy.errors import SettingsError
from proxy.tunnels.base import ENTRY_POINT_GROUP, MakeBackend


def choose_backend(name: str, built_in: Mapping[str, MakeBackend]) -> MakeBackend:
    """The built-in backend of this name, or else the one another distribution offers under it.

    Raises:
        SettingsError: nobody has one (``unknown-tunnel-backend``), several distributions have one
            (``ambiguous-tunnel-backend``), or theirs cannot be imported (``bad-tunnel-backend``).
    """
    if name in built_in:
        return built_in[name]
    offered = tuple(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not offered:
        others = {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
        known = ", ".join(sorted({*built_in, *others}))
        raise SettingsError(
            "unknown-tunnel-backend", f"tunnel_backends: no backend {name}; there are: {known}"
        )
    if len(offered) > 1:
        raise SettingsError(
            "ambiguous-tunnel-backend", f"tunnel_backends: several distributions offer {name}"
        )
    try:
        make: MakeBackend = offered[0].load()
    except Exception as error:
        raise SettingsError(
            "bad-tunnel-backend", f"tunnel_backends: {name} cannot be loaded: {error}"
        ) from error
    return make

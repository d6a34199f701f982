"""What makes ssh clients trust every enrolled host."""

from idp_gateway.composition import Gateway
from idp_gateway.hosts import DUMMY_SUFFIX

PATH = "/ssh/known-hosts"
"""Where everybody gets it."""


def known_hosts_lines(gateway: Gateway) -> tuple[str, ...]:
    """``@cert-authority`` lines for ``known_hosts``: one for each host CA key that is trusted."""
    domain = gateway.settings.edge_domain
    names = f"*.{domain},*.{domain}{DUMMY_SUFFIX}"
    return tuple(f"@cert-authority {names} {line}" for line in gateway.authority.host_ca_lines)

"""Names that more than one file of the configuration must agree on."""

GATEWAY_CLUSTER = "internal:gateway"
"""Holds a colon, so that no Host header, whose port is cut off, can ever name it."""
AUTHORIZE_CLUSTER = "internal:authorize"
"""The same gateway, with limits of its own: strangers at its pages never use up the edge's way."""
LONG_CLUSTER = "internal:long"
"""The same gateway for long bodies, which may be slow to come."""
DISCOVERY_CLUSTER = "internal:discovery"
METADATA = "mysocket"
"""Namespace of a cluster's metadata."""
SESSION = "session"
"""Key under which the JWT filter leaves the claims."""
ADDRESS = "addr"
"""Claim of a session that is good from one address alone: the address as Envoy writes it, up to the
colon before the port."""
SESSION_COOKIE = "__Host-mysocket"
EDGE_KEY_HEADER = "x-mysocket-edge-key"
PRODUCT_PREFIX = "/.mysocket/"
"""Paths of the product itself on every identity socket."""
AUTHORIZE_PREFIX = "/internal/authorize"
JWT_FILTER = "envoy.filters.http.jwt_authn"
RBAC_FILTER = "envoy.filters.http.rbac"
SHADOW_PREFIX = "mysocket_"
RESULT_NOTE = f"{SHADOW_PREFIX}shadow_engine_result"
POLICY_NOTE = f"{SHADOW_PREFIX}shadow_effective_policy_id"
ASK_PROTECTED = "ask-protected"
"""Policy name of a request the gateway is asked about where the socket has a password, which the
origin must not see if the answer is yes."""
SERVER_SECRET = "server"  # noqa: S105 - a resource's name
CLIENT_CA_SECRET = "client-ca"  # noqa: S105 - a resource's name
IDENTITY_HEADERS = ("x-auth-email", "x-auth-name", "x-auth-assertion", "x-remote-user")
"""What an origin may believe: e-mail, name, signed assertion, and the e-mail again under the name
that applications without a setting for it look at (Radicale, WSGI's ``REMOTE_USER`` shims)."""


def stream_cluster(socket_id: str) -> str:
    """Cluster of a TCP or TLS socket; no Host header can name it."""
    return f"stream:{socket_id}"


CLOSED_CHAIN = "closed"
"""The filter chain of addresses from which nobody may come."""

"""One of everything an edge may serve, with nothing random in it."""

from ipaddress import ip_network
from pathlib import Path
from types import MappingProxyType

from policy.types import SocketType
from proxy.envoy.settings import EnvoySettings, GatewayUpstream
from proxy.envoy.tls import ServerCertificate
from proxy.state import BasicAuth, EdgeSocket, EdgeState, SourceRule, Trust

SETTINGS = EnvoySettings(
    run_dir=Path("/run/mysocket"),
    request_log=Path("/var/lib/mysocket/edge/requests.jsonl"),
    gateway_names=("gateway.localhost",),
    gateway=GatewayUpstream(unix_path=Path("/run/mysocket/gateway.sock")),
    edge_domain="edge.localhost",
    edge_key="not-a-key",
)
CERTIFICATE = ServerCertificate(chain_pem="chain\n", key_pem="key\n")
TRUST = Trust(
    issuer="https://gateway.localhost:8443",
    session_jwks={"keys": [{"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "kid": "1"}]},
    client_ca="issuing\nroot\n",
    tunnel_user_ca=(),
)


def socket(name: str, kind: SocketType, **changes: object) -> EdgeSocket:
    values: dict = {
        "socket_id": f"id-{name}",
        "dns_name": f"{name}.edge.localhost",
        "name": name,
        "socket_type": kind,
        "ports": (20000,) if kind.has_own_port else (8443,),
        "epoch": 7,
        "identity_required": True,
    }
    return EdgeSocket(**(values | changes))


LOCK = BasicAuth(username="ann", password="pä:ss")
OFFICE, LAB = ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")
RULE = SourceRule(allow=(OFFICE, LAB), deny=(ip_network("192.0.2.128/25"),))
SETS = {"0123456789abcdef": (ip_network("192.0.2.0/25"),), "fedcba9876543210": (OFFICE, LAB)}
SOCKETS = (
    socket("app", SocketType.HTTP),
    socket("open", SocketType.HTTP, identity_required=False),
    socket("guarded", SocketType.HTTP, identity_required=False, basic_auth=LOCK),
    socket("both", SocketType.HTTP, basic_auth=LOCK),
    socket("secure", SocketType.HTTPS, upstream_http_hostname="inside.corp"),
    socket("db", SocketType.TLS, ports=(20001, 20002)),
    socket("anon", SocketType.TLS, ports=(20003,), identity_required=False),
    socket("office", SocketType.TLS, ports=(20005,), source_rule=RULE, source_sets=SETS),
    socket("near", SocketType.TCP, ports=(20006,), identity_required=False, source_rule=RULE),
    socket("raw", SocketType.TCP, ports=(20004,), identity_required=False),
)
ENDPOINTS = {"id-app": ("/run/t/1.sock", "/run/t/2.sock"), "id-db": ("/run/t/3.sock",)}


def state(*sockets: EdgeSocket, trust: Trust = TRUST) -> EdgeState:
    by_id = {one.socket_id: one for one in sockets}
    return EdgeState(revision=1, trust=trust, sockets=MappingProxyType(by_id))

"""TLS towards clients: one server certificate for all, client certificates for identity sockets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from proxy.envoy.names import CLIENT_CA_SECRET, SERVER_SECRET
from proxy.state import EdgeSocket

_DOWNSTREAM = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
_UPSTREAM = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """The edge's certificate chain (leaf first) and its key, as PEM text."""

    chain_pem: str
    key_pem: str = field(repr=False)


def server_secret(certificate: ServerCertificate) -> dict[str, Any]:
    """The certificate as a resource of its own: renewing it touches no listener or connection."""
    return {
        "name": SERVER_SECRET,
        "tls_certificate": {
            "certificate_chain": {"inline_string": certificate.chain_pem},
            "private_key": {"inline_string": certificate.key_pem},
        },
    }


def client_ca_secret(client_ca: str) -> dict[str, Any]:
    return {
        "name": CLIENT_CA_SECRET,
        "validation_context": {"trusted_ca": {"inline_string": client_ca}},
    }


def inspection(timeout: float) -> dict[str, Any]:
    """Parts of a listener whose chains are chosen by the TLS server name."""
    inspector = (
        "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
    )
    return {
        "listener_filters": [
            {
                "name": "envoy.filters.listener.tls_inspector",
                "typed_config": {"@type": inspector},
            }
        ],
        "listener_filters_timeout": f"{timeout}s",
    }


def web_server() -> dict[str, Any]:
    """TLS of the HTTPS listener."""
    common = _common()
    common["alpn_protocols"] = ["h2", "http/1.1"]
    return _downstream({"common_tls_context": common})


def open_server() -> dict[str, Any]:
    """TLS of a socket anybody may reach; no ALPN, as the bytes inside are not ours to name."""
    return _downstream({"common_tls_context": _common()})


def identity_server(socket: EdgeSocket, source_ids: Sequence[str] = ()) -> dict[str, Any]:
    """TLS that only a certificate for exactly this socket and epoch gets through: one that is good
    from anywhere, or from one of the sets of networks the client is known to be in.

    The name is compared in the handshake itself: network filters run on the first byte only, after
    an origin that speaks first has already been heard. Resumption would skip the comparison and
    the certificate's end, so there is none.
    """
    common = _common()
    uri = f"urn:mysocket:socket:{socket.socket_id}:{socket.epoch}"
    accepted = [uri, *(f"{uri}:from:{source_id}" for source_id in source_ids)]
    common["combined_validation_context"] = {
        "default_validation_context": {
            "match_typed_subject_alt_names": [
                {"san_type": "URI", "matcher": {"exact": one}} for one in accepted
            ]
        },
        "validation_context_sds_secret_config": _secret(CLIENT_CA_SECRET),
    }
    return _downstream(
        {
            "common_tls_context": common,
            "require_client_certificate": True,
            "disable_stateless_session_resumption": True,
            "disable_stateful_session_resumption": True,
        }
    )


def blind_client(server_name: str) -> dict[str, Any]:
    """TLS towards an origin, unverified: the path there is its owner's own tunnel."""
    return _upstream({"sni": server_name})


def verified_client(server_name: str, ca_file: str) -> dict[str, Any]:
    """TLS towards a gateway on another machine, which must prove its name."""
    matcher = [{"san_type": "DNS", "matcher": {"exact": server_name}}]
    return _upstream(
        {
            "sni": server_name,
            "common_tls_context": {
                "validation_context": {
                    "trusted_ca": {"filename": ca_file},
                    "match_typed_subject_alt_names": matcher,
                }
            },
        }
    )


def _common() -> dict[str, Any]:
    return {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [_secret(SERVER_SECRET)],
    }


def _secret(name: str) -> dict[str, Any]:
    return {"name": name, "sds_config": {"ads": {}, "resource_api_version": "V3"}}


def _downstream(context: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": _DOWNSTREAM, **context},
    }


def _upstream(context: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": _UPSTREAM, **context}}

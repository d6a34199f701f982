"""A transparency log for the wire gateway: real proofs, wrong ones, or none."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from ca.formats import merkle
from ca.formats.checkpoint import Checkpoint, LogKey
from ca.formats.log_proof import InclusionProof, LogEntry
from ca.formats.ssh_certificate import parse_certificate_line
from tests.support.wire_gateway import WireGateway

Proofs = Literal["absent", "wrong", "right"]
_ISSUED_AT_MS = 1_795_392_000_000


@dataclass(slots=True)
class WireLog:
    """Logs every certificate that a gateway answers with."""

    proofs: Proofs
    private: ed25519.Ed25519PrivateKey = field(default_factory=ed25519.Ed25519PrivateKey.generate)
    tree: merkle.Frontier = field(default_factory=merkle.Frontier)
    nodes: dict[merkle.Node, bytes] = field(default_factory=dict)

    @property
    def key(self) -> LogKey:
        return LogKey(origin="gateway.localhost/ca/log", public=self.private.public_key())

    def serve(self, gateway: WireGateway) -> None:
        """Have the gateway's answers carry proofs."""
        gateway.amend = self._amend
        gateway.more["GET", "/ca/log/key"] = lambda *_: (200, {"key": str(self.key)})
        gateway.more["GET", "/ca/log/consistency"] = lambda *_: (200, self._consistency())

    def _amend(self, reply: Any) -> Any:
        found = _certificate_in(reply) if isinstance(reply, dict) else None
        if found is None or self.proofs == "absent":
            return reply
        kind, certificate = found
        return reply | {
            "log_proof": self._prove(kind, b"other" if self.proofs == "wrong" else certificate)
        }

    def _prove(self, kind: Literal["ssh", "x509"], certificate: bytes) -> dict[str, Any]:
        entry = LogEntry(kind=kind, issued_at_ms=_ISSUED_AT_MS, certificate=certificate)
        index = self.tree.size
        self.tree, made = self.tree.grow([entry.leaf_hash()])
        self.nodes |= made
        checkpoint = Checkpoint(origin=self.key.origin, size=index + 1, root=self.tree.root)
        return InclusionProof(
            index=index,
            issued_at_ms=_ISSUED_AT_MS,
            hashes=merkle.inclusion_path(index, index + 1, self.nodes.__getitem__),
            checkpoint=checkpoint.sign(self.private),
        ).to_json()

    def _consistency(self) -> dict[str, Any]:
        """With the last tree but one."""
        size = self.tree.size
        path = merkle.consistency_path(size - 1, size, self.nodes.__getitem__)
        return {"hashes": [base64.b64encode(step).decode() for step in path]}


def _certificate_in(reply: dict[str, Any]) -> tuple[Literal["ssh", "x509"], bytes] | None:
    if pem := reply.get("client_certificate"):
        leaf = x509.load_pem_x509_certificate(pem.encode())
        return "x509", leaf.public_bytes(serialization.Encoding.DER)
    bundled = json.loads(reply["bundle"])["host_certificate"] if "bundle" in reply else ""
    line = reply.get("signed_ssh_cert") or reply.get("host_certificate") or bundled
    return ("ssh", parse_certificate_line(line).blob) if line else None

"""The key that bundles for enrolled hosts are signed with; it signs no certificates."""

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric import ed25519

from ca import ssh
from ca.keybox import KeyBox, open_private_key, seal_private_key
from ca.signers.base import Signer
from ca.signers.memory import MemorySigner
from idp_gateway.records import SigningKeyRecord
from idp_gateway.store import Store

_PURPOSE = "host-bundle"


def load_bundle_signer(store: Store, box: KeyBox, now: datetime) -> Signer:
    """The key, made now if there is none; all gateways of a database get the same one.

    Raises:
        ca.errors.SealBrokenError: it does not open with this master key.
    """

    def make() -> SigningKeyRecord:
        key = ed25519.Ed25519PrivateKey.generate()
        line = ssh.ca_public_line(MemorySigner(name=_PURPOSE, signing_key=key))
        return SigningKeyRecord(
            purpose=_PURPOSE,
            key_id=ssh.fingerprint(line),
            public={"line": line},
            private_sealed=seal_private_key(box, key, purpose=_PURPOSE, object_id=_PURPOSE),
            created_at=now,
        )

    record = store.signing_key(_PURPOSE, make)
    key = open_private_key(box, record.private_sealed, purpose=_PURPOSE, object_id=_PURPOSE)
    return MemorySigner(name=_PURPOSE, signing_key=key)

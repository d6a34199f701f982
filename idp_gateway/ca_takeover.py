"""Takes CA keys of before there were generations over as generation 1, at the first start after.

The migration moved sealed rows into ``ca_generations`` as they were, for it has no master key;
the issuing CA was a file. Both are sealed anew here. May be cut short and begun again.
"""

from dataclasses import replace

from ca import ssh
from ca.keybox import KeyBox, open_private_key
from ca.signers.memory import MemorySigner
from idp_gateway.ca_files import RootFiles
from idp_gateway.ca_generations import SSH_TUNNEL, X509_ISSUING, Generations
from idp_gateway.records import CaGenerationRecord, CaState
from idp_gateway.signing import Signing
from idp_gateway.store import Store
from idp_gateway.store.generations import USER_CA

BEFORE_GENERATIONS = "before-generations"
"""``signer`` of the rows that the migration made."""

_TUNNEL_PURPOSE = "ssh-tunnel-user-ca"
_USER_PURPOSE = "ssh-user-ca"


def take_over(
    *, store: Store, box: KeyBox, signing: Signing, generations: Generations, root: RootFiles
) -> None:
    """Seal anew what an earlier version left.

    Raises:
        ca.errors.KeyStoreError: a key does not open with this master key.
    """
    for record in store.generations_by_signer(BEFORE_GENERATIONS):
        store.adopt_generation(_adopted(record, box, signing))
    if store.active_generation(X509_ISSUING) is None:
        _take_issuing_ca_over(store, signing, generations, root)


def _adopted(record: CaGenerationRecord, box: KeyBox, signing: Signing) -> CaGenerationRecord:
    if record.ca_id == SSH_TUNNEL:
        purpose, object_id = _TUNNEL_PURPOSE, _TUNNEL_PURPOSE
    else:
        purpose, object_id = _USER_PURPOSE, record.ca_id.removeprefix(USER_CA)
    key = open_private_key(box, record.private_sealed or b"", purpose=purpose, object_id=object_id)
    made = signing.adopt(record.ca_id, key)
    line = ssh.ca_public_line(MemorySigner(name=record.ca_id, signing_key=key))
    return replace(
        record,
        public=line,
        key_id=ssh.fingerprint(line),
        signer=made.backend,
        private_sealed=made.private_sealed,
        key_reference=made.key_reference,
    )


def _take_issuing_ca_over(
    store: Store, signing: Signing, generations: Generations, root: RootFiles
) -> None:
    old = root.old_issuing_ca()
    if old is None:
        return
    made = signing.adopt(X509_ISSUING, old.key)
    record = generations.described(
        X509_ISSUING, made, generation=1, state=CaState.ACTIVE, chain=old.chain
    )
    store.add_first_generation(record)
    root.forget_old_issuing_ca()

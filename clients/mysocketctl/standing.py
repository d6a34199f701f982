"""Whether a kept SSH certificate still counts, by the lists the gateway gives to everybody.

A revoked certificate, or one of a CA that servers no longer trust, opens no door until its end;
a new one would. So the client looks before it uses a kept one again: two small public answers, no
login. A gateway that does not answer soon, or not as expected, changes nothing.
"""

from ca.formats.errors import FormatError
from ca.formats.krl import MAX_KRL_BYTES, parse_krl
from ca.formats.ssh_certificate import SshCertificate
from ca.formats.ssh_keys import parse_key_line
from clients.mysocketctl.api import GatewayApi, segment
from clients.mysocketctl.errors import ClientError
from clients.mysocketctl.settings import Settings

LOOK_SECONDS = 2.0
"""How long each answer may take: somebody waits for their ``ssh`` to begin."""
_MAX_CA_KEYS = 64 << 10


def still_counts(settings: Settings, dns_name: str, kept: SshCertificate) -> bool:
    """Whether nothing the gateway publishes speaks against the certificate; never raises."""
    place = f"/ssh/{segment(dns_name)}"
    try:
        with GatewayApi(settings) as api:
            keys = api.get_public(f"{place}/user-ca-keys", seconds=LOOK_SECONDS, most=_MAX_CA_KEYS)
            trusted = {parse_key_line(line).blob for line in keys.splitlines() if line.strip()}
            if trusted and kept.signature_key not in trusted:
                return False
            list_of_revoked = parse_krl(
                api.get_public(f"{place}/krl", seconds=LOOK_SECONDS, most=MAX_KRL_BYTES)
            )
    except (ClientError, FormatError):
        return True
    return not list_of_revoked.revokes_certificate(
        ca=kept.signature_key,
        serial=kept.serial,
        key_id=kept.key_id,
        subject=kept.key_blob.blob,
    )

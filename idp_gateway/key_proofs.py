"""Proof that whoever wants an SSH key certified has its private half.

The gateway gives out a challenge, the holder of the key signs it (SSHSIG, PROTOCOL.sshsig of
OpenSSH), and the signature comes back with the key. Nothing is kept in between: a challenge is
signed state that is good for one login, one socket and two minutes. It is readable up to the first
colon, so that a holder sees for which socket they sign.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from ca.formats.errors import FormatError
from ca.formats.sshsig import parse_armored, verify_sshsig
from ca.subject_keys import parse_ssh_public_key
from idp_gateway.errors import KeyProofInvalid
from idp_gateway.forms import SignatureRefused, Signer

NAMESPACE = "ssh-certificate@mysocket.io"
"""Namespace of the signature: one made for anything else proves nothing here."""
CHALLENGE_LIFE = timedelta(minutes=2)
"""Time to sign: a security key waits for its person."""
MAX_NONCE_LENGTH = 1_024
MAX_PROOF_LENGTH = 16_384
"""Characters of an armored signature; one by an RSA key of 16384 bits takes about 6,000."""

_PURPOSE = "ssh-key-proof"
_RANDOM_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofPlace:
    """Where a proof counts: one login session at one socket."""

    session_id: str
    dns_name: str

    @property
    def digest(self) -> str:
        """Both, in one word that says nothing about the session (hex)."""
        return hashlib.sha256(f"{self.session_id}\0{self.dns_name}".encode()).hexdigest()


def challenge(signer: Signer, place: ProofPlace, *, now: datetime) -> str:
    """What has to be signed: ``<dns name>:<signed state>``, printable ASCII."""
    state = {"p": place.digest, "r": secrets.token_urlsafe(_RANDOM_BYTES)}
    return f"{place.dns_name}:{signer.sign(_PURPOSE, state, until=now + CHALLENGE_LIFE)}"


def check_proof(
    signer: Signer,
    place: ProofPlace,
    *,
    public_key: str,
    nonce: str,
    proof: str,
    now: datetime,
) -> None:
    """Make sure that ``proof`` is the signature of ``public_key`` over a challenge for ``place``.

    A security key has to be touched for it.

    Raises:
        ca.errors.SubjectKeyError: ``public_key`` is no key that is certified.
        KeyProofInvalid: the challenge is not ours, too old or for something else; or the signature
            is malformed, another key's, for another purpose or over something else.
    """
    key = parse_ssh_public_key(public_key)
    _check_nonce(signer, place, nonce, now)
    try:
        found = parse_armored(proof)
        # Before anything is computed with it: this key was vetted, any other may be a costly one.
        if found.key.blob != key.blob:
            raise KeyProofInvalid("the proof was made with another key", field="proof")
        verify_sshsig(found.blob, nonce.encode(), NAMESPACE)
    except FormatError as error:
        raise KeyProofInvalid(f"the proof does not hold: {error}", field="proof") from error


def _check_nonce(signer: Signer, place: ProofPlace, nonce: str, now: datetime) -> None:
    dns_name, _, state = nonce.partition(":")
    refused = "this challenge is too old or not for this login and socket; ask for a new one"
    try:
        value = signer.read(_PURPOSE, state, now=now)
    except SignatureRefused as error:
        raise KeyProofInvalid(refused, field="nonce") from error
    if dns_name != place.dns_name or value.get("p") != place.digest:
        raise KeyProofInvalid(refused, field="nonce")

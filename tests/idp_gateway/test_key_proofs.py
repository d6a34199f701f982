"""What proves possession of a key, and what does not."""

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ca.errors import SubjectKeyError
from ca.formats.ssh_keys import SK_ECDSA, SK_ED25519
from ca.formats.sshsig import make_sshsig
from idp_gateway.errors import KeyProofInvalid
from idp_gateway.forms import Signer
from idp_gateway.key_proofs import (
    CHALLENGE_LIFE,
    MAX_NONCE_LENGTH,
    MAX_PROOF_LENGTH,
    NAMESPACE,
    ProofPlace,
    challenge,
    check_proof,
)
from tests.support.key_proofs import security_key_proof, sha1_proof
from tests.support.security_keys import SecurityKey
from tests.support.subjects import ec_key, public_line

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PLACE = ProofPlace(session_id="session of alice", dns_name="calm-otter-1.edge.localhost")
SIGNER = Signer(b"s" * 32)


@dataclass(slots=True)
class Exchange:
    """One challenge and whatever comes back for it."""

    nonce: str = field(default_factory=lambda: challenge(SIGNER, PLACE, now=NOW))

    def check(
        self,
        public_key: str,
        proof: str,
        *,
        nonce: str | None = None,
        place: ProofPlace = PLACE,
        later: timedelta = timedelta(),
        signer: Signer = SIGNER,
    ) -> None:
        check_proof(
            signer,
            place,
            public_key=public_key,
            nonce=self.nonce if nonce is None else nonce,
            proof=proof,
            now=NOW + later,
        )


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.mark.parametrize(
    "key",
    [
        pytest.param(ed25519.Ed25519PrivateKey.generate(), id="ed25519"),
        pytest.param(ec.generate_private_key(ec.SECP256R1()), id="p256"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()), id="p384"),
        pytest.param(ec.generate_private_key(ec.SECP521R1()), id="p521"),
        pytest.param(rsa.generate_private_key(65537, 2048), id="rsa"),
    ],
)
def test_the_holder_of_a_key_proves_it(key: Any, exchange: Exchange) -> None:
    proof = make_sshsig(key, exchange.nonce.encode(), NAMESPACE)
    exchange.check(public_line(key, "me@laptop"), proof)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_ssh_keygen_makes_proof(kind: str, exchange: Exchange, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key], check=True)
    done = subprocess.run(
        ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", key],
        input=exchange.nonce.encode(),
        capture_output=True,
        check=True,
    )
    exchange.check(key.with_suffix(".pub").read_text(), done.stdout.decode())


@pytest.mark.parametrize("key_type", [SK_ED25519, SK_ECDSA])
def test_a_security_key_proves_itself_by_a_touch(key_type: str, exchange: Exchange) -> None:
    key = SecurityKey(key_type)
    exchange.check(key.line, security_key_proof(key, exchange.nonce))
    with pytest.raises(KeyProofInvalid, match="touched"):
        exchange.check(key.line, security_key_proof(key, exchange.nonce, flags=0))


def test_a_security_key_is_not_the_plain_key_inside_it(exchange: Exchange) -> None:
    """Neither proves the other: their blobs differ, and so does what they sign."""
    key = SecurityKey(SK_ED25519)
    plain = public_line(key._ed25519)
    with pytest.raises(KeyProofInvalid, match="another key"):
        exchange.check(plain, security_key_proof(key, exchange.nonce))
    with pytest.raises(KeyProofInvalid):
        exchange.check(key.line, make_sshsig(key._ed25519, exchange.nonce.encode(), NAMESPACE))


def test_another_key_proves_nothing(exchange: Exchange) -> None:
    proof = make_sshsig(ec_key(), exchange.nonce.encode(), NAMESPACE)
    with pytest.raises(KeyProofInvalid, match="another key"):
        exchange.check(public_line(ec_key()), proof)


@pytest.mark.parametrize(
    "namespace", ["file", "git", NAMESPACE.upper(), f"{NAMESPACE}x", "host@mysocket.io"]
)
def test_a_signature_for_another_purpose_proves_nothing(namespace: str, exchange: Exchange) -> None:
    key = ec_key()
    with pytest.raises(KeyProofInvalid, match="purpose"):
        exchange.check(public_line(key), make_sshsig(key, exchange.nonce.encode(), namespace))


def test_a_challenge_is_good_for_two_minutes(exchange: Exchange) -> None:
    key = ec_key()
    proof = make_sshsig(key, exchange.nonce.encode(), NAMESPACE)
    exchange.check(public_line(key), proof, later=CHALLENGE_LIFE - timedelta(seconds=1))
    with pytest.raises(KeyProofInvalid, match="too old"):
        exchange.check(public_line(key), proof, later=CHALLENGE_LIFE)


@pytest.mark.parametrize(
    "place",
    [
        ProofPlace(session_id="session of bob", dns_name=PLACE.dns_name),
        ProofPlace(session_id=PLACE.session_id, dns_name="other-otter-2.edge.localhost"),
    ],
)
def test_a_challenge_is_for_one_login_and_one_socket(place: ProofPlace, exchange: Exchange) -> None:
    key = ec_key()
    proof = make_sshsig(key, exchange.nonce.encode(), NAMESPACE)
    with pytest.raises(KeyProofInvalid):
        exchange.check(public_line(key), proof, place=place)


def test_the_name_in_front_of_a_challenge_counts(exchange: Exchange) -> None:
    """Else a holder could be made to sign for a socket they do not see."""
    key, (_, _, state) = ec_key(), exchange.nonce.partition(":")
    for name in ("other-otter-2.edge.localhost", "", PLACE.dns_name.upper()):
        nonce = f"{name}:{state}"
        with pytest.raises(KeyProofInvalid):
            exchange.check(
                public_line(key), make_sshsig(key, nonce.encode(), NAMESPACE), nonce=nonce
            )


def test_a_challenge_of_another_gateway_is_none(exchange: Exchange) -> None:
    key = ec_key()
    proof = make_sshsig(key, exchange.nonce.encode(), NAMESPACE)
    with pytest.raises(KeyProofInvalid):
        exchange.check(public_line(key), proof, signer=Signer(b"t" * 32))


def test_what_is_signed_for_another_use_is_no_challenge(exchange: Exchange) -> None:
    """The gateway signs form tokens and the like with the same secret, each under its own salt."""
    key = ec_key()
    state = SIGNER.sign("return-to", {"p": PLACE.digest}, until=NOW + CHALLENGE_LIFE)
    nonce = f"{PLACE.dns_name}:{state}"
    with pytest.raises(KeyProofInvalid):
        exchange.check(public_line(key), make_sshsig(key, nonce.encode(), NAMESPACE), nonce=nonce)


@pytest.mark.parametrize(
    "nonce", ["", ":", "x", "a" * MAX_NONCE_LENGTH, f"{PLACE.dns_name}:", "\u20ac:\u20ac", "\0:\0"]
)
def test_what_is_no_challenge_at_all(nonce: str, exchange: Exchange) -> None:
    key = ec_key()
    with pytest.raises(KeyProofInvalid):
        exchange.check(public_line(key), make_sshsig(key, nonce.encode(), NAMESPACE), nonce=nonce)


def malformed(good: str) -> list[str]:
    """Texts that a reader of good proofs might stumble over."""
    begin, *body, end, _ = good.split("\n")
    return [
        "",
        "".join(body),
        f"{begin}\n!!!\n{end}",
        "\n".join([begin, *body[:-1], end]),
        "\n".join([begin, *body, "AAAA", end]),
        good + good,
        public_line(ec_key()),
        good.replace("SSH", "PGP"),
        good.replace(body[0], "\u20ac" * 10),
        "\ud800",
        "\0" * 100,
        begin + "A" * MAX_PROOF_LENGTH + end,
    ]


@pytest.mark.parametrize("number", range(12))
def test_what_is_no_proof_at_all(number: int, exchange: Exchange) -> None:
    key = ec_key()
    good = make_sshsig(key, exchange.nonce.encode(), NAMESPACE)
    with pytest.raises(KeyProofInvalid):
        exchange.check(public_line(key), malformed(good)[number])


def test_every_bit_of_a_proof_counts(exchange: Exchange) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    good = make_sshsig(key, exchange.nonce.encode(), NAMESPACE)
    begin, *body, end, _ = good.split("\n")
    text = "".join(body)
    for place in range(0, len(text), 5):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(KeyProofInvalid):
            exchange.check(public_line(key), f"{begin}\n{changed}\n{end}")


def test_a_key_that_is_not_certified_is_told_apart(exchange: Exchange) -> None:
    weak = rsa.generate_private_key(65537, 1024)
    proof = make_sshsig(weak, exchange.nonce.encode(), NAMESPACE)
    with pytest.raises(SubjectKeyError):
        exchange.check(public_line(weak), proof)


def test_challenges_never_repeat() -> None:
    assert len({Exchange().nonce for _ in range(50)}) == 50


def test_sha1_proves_nothing(exchange: Exchange) -> None:
    """``ssh-rsa`` signatures are made with SHA-1."""
    key = rsa.generate_private_key(65537, 2048)
    with pytest.raises(KeyProofInvalid):
        exchange.check(public_line(key), sha1_proof(key, exchange.nonce))

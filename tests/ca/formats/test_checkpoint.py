import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ca.formats.checkpoint import Checkpoint, CheckpointError, LogKey, decode_base64
from ca.formats.errors import FormatError, SignatureInvalid

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = LogKey(origin="gateway.test/ca/log", public=PRIVATE.public_key())
CHECKPOINT = Checkpoint(origin=KEY.origin, size=42, root=bytes(32))
NOTE = CHECKPOINT.sign(PRIVATE)


def test_a_signed_checkpoint_opens() -> None:
    assert KEY.open(NOTE) == CHECKPOINT
    assert NOTE.startswith(f"{KEY.origin}\n42\n{base64.b64encode(bytes(32)).decode()}\n\n\u2014 ")


def test_a_known_key_hash_changes_nothing() -> None:
    assert CHECKPOINT.sign(PRIVATE, key_hash=KEY.key_hash) == NOTE


def test_the_signature_is_over_the_text_with_its_last_line_end() -> None:
    """As signed-note has it; checked with the library alone."""
    line = NOTE.splitlines()[-1]
    blob = base64.b64decode(line.split(" ")[2])
    PRIVATE.public_key().verify(blob[4:], NOTE.partition("\n\n")[0].encode() + b"\n")
    assert blob[:4] == KEY.key_hash


def test_further_signatures_are_ignored() -> None:
    other = Checkpoint(origin=KEY.origin, size=42, root=bytes(32)).sign(
        Ed25519PrivateKey.generate()
    )
    both = NOTE + other.splitlines()[-1] + "\n"
    assert KEY.open(both) == CHECKPOINT


def test_a_key_survives_its_text() -> None:
    again = LogKey.parse(str(KEY))
    assert str(again) == str(KEY)
    assert again.open(NOTE) == CHECKPOINT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\n42\n", "\n43\n"),
        ("\n42\n", "\n042\n"),
        ("\n42\n", "\n-1\n"),
        ("\n42\n", "\n99999999999999999999\n"),
        ("AAAA=\n", "AAAB=\n"),
        ("AAAA=\n", "AAAA\n"),
        ("gateway.test/ca/log\n42", "other.test/ca/log\n42"),
        ("\n\n", "\nextension\n\n"),
        ("\n\n", "\n"),
        ("\u2014 ", "- "),
        ("\u2014 gateway", "\u2014  gateway"),
    ],
)
def test_a_changed_checkpoint_does_not_open(old: str, new: str) -> None:
    assert old in NOTE
    with pytest.raises(FormatError):
        KEY.open(NOTE.replace(old, new, 1))


@pytest.mark.parametrize("text", ["", "\n", "\n\n", NOTE[:-1], NOTE + "\n", "x" * 5000, "\ud800"])
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        KEY.open(text)


def test_another_key_of_the_same_name_does_not_count() -> None:
    stranger = LogKey(origin=KEY.origin, public=Ed25519PrivateKey.generate().public_key())
    with pytest.raises(SignatureInvalid):
        stranger.open(NOTE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+b",
        str(KEY).replace("+", " "),
        str(KEY)[:-1],
        str(KEY).replace("/log+", "/log+0"),
        "x" * 600,
        str(KEY).replace("gateway", "gate\nway"),
        str(KEY).replace("gateway", "gatewaz"),
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError):
        LogKey.parse(text)


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\n", "\u00e4", "x" * 301])
def test_a_name_is_one_plain_word(origin: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint(origin=origin, size=0, root=bytes(32))


@pytest.mark.parametrize("text", ["=", "AA", "AB==", "AA==\n", "A A=", "\u00e4"])
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(CheckpointError):
        decode_base64(text)

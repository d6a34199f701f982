"""The two secrets every gateway needs on disk: the master key and the edge key."""

import base64
import binascii
import secrets
from pathlib import Path

from ca.errors import KeyFileError
from ca.keybox import MASTER_KEY_BYTES
from ca.signers.file import read_private_file, write_new_file
from idp_gateway.errors import SettingsError


def load_or_make_secret(path: Path) -> bytes:
    """The 32 random bytes in a file of base64url text, mode 0600; made now if there is none.

    Raises:
        SettingsError: the file is open to others, unreadable, or holds something else.
    """
    try:
        if not path.exists():
            _make(path)
        content = read_private_file(path)
    except (OSError, KeyFileError) as error:
        raise SettingsError(str(error)) from error
    try:
        secret = base64.b64decode(content.strip() + b"=", altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise SettingsError(f"{path} is not base64") from error
    if len(secret) != MASTER_KEY_BYTES:
        raise SettingsError(f"{path} does not hold {MASTER_KEY_BYTES} bytes")
    return secret


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = secrets.token_urlsafe(MASTER_KEY_BYTES)
    try:
        write_new_file(path, f"{text}\n".encode())
    except KeyFileError:
        # Another process was quicker; its file is complete and is the one that counts.
        if not path.exists():
            raise

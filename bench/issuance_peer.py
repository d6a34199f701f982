"""The least that anybody would write to sign SSH certificates over HTTP, to compare with.

FastAPI on uvicorn with uvloop and httptools, the certificate by the library in a few lines, one
row in SQLite with ``synchronous=FULL``, committed before the answer. Nobody is asked who they are,
nothing is decided, logged, proved, linted or read back.
"""

import argparse
import os
import sqlite3
import time
from pathlib import Path

import uvicorn
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from fastapi import FastAPI
from pydantic import BaseModel

_LIFE_SECONDS = 600
_EXTENSIONS = (
    b"permit-X11-forwarding",
    b"permit-agent-forwarding",
    b"permit-port-forwarding",
    b"permit-pty",
    b"permit-user-rc",
)


class Form(BaseModel):
    """What the product's own clients send."""

    ssh_public_key: str


def application(database: Path) -> FastAPI:
    """Signs whatever key it is sent."""
    rows = sqlite3.connect(database, isolation_level=None)
    rows.execute("PRAGMA journal_mode=WAL")
    rows.execute("PRAGMA synchronous=FULL")
    rows.execute("CREATE TABLE certificates (serial INTEGER PRIMARY KEY, at REAL, line TEXT)")
    authority = ed25519.Ed25519PrivateKey.generate()
    app = FastAPI()

    @app.post("/mtls-ca/socket/{dns_name}/ssh")
    async def certify(dns_name: str, form: Form) -> dict[str, str]:
        serial = int.from_bytes(os.urandom(7), "big") + 1
        line = _signed(authority, form.ssh_public_key.encode("ascii"), serial, dns_name)
        # Without a transaction of its own each statement is one, and on the disk when it returns.
        rows.execute("INSERT INTO certificates VALUES (?, ?, ?)", (serial, time.time(), line))
        return {"signed_ssh_cert": line}

    return app


def _signed(authority: ed25519.Ed25519PrivateKey, key: bytes, serial: int, dns_name: str) -> str:
    public = serialization.load_ssh_public_key(key)
    now = int(time.time())
    builder = (
        serialization.SSHCertificateBuilder()
        .public_key(public)  # type: ignore[arg-type]
        .serial(serial)
        .type(serialization.SSHCertificateType.USER)
        .key_id(f"alice@example.com/{dns_name}".encode("ascii"))
        .valid_principals([b"alice@example.com", b"mysocket_ssh_signed"])
        .valid_after(now - _LIFE_SECONDS // 2)
        .valid_before(now + _LIFE_SECONDS // 2)
    )
    for name in _EXTENSIONS:
        builder = builder.add_extension(name, b"")
    return builder.sign(authority).public_bytes().decode("ascii")


def main() -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--database", type=Path, required=True)
    arguments = parser.parse_args()
    uvicorn.run(
        application(arguments.database),
        host="127.0.0.1",
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )


if __name__ == "__main__":
    main()

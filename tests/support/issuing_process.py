"""A gateway in a process of its own that issues certificates, and fails where its test wants.

Run as ``python -m tests.support.issuing_process PLAN``; the plan is JSON, see ``Plan``. It prints
``ready``, waits for a line, and prints one line of JSON for each certificate when it is released.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

import idp_gateway.authority
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.errors import Conflict
from idp_gateway.issuance_log import IssuanceLog
from idp_gateway.settings import Settings
from idp_gateway.store.log import LogTransaction
from policy.types import Action
from tests.support.grants import NOW, grant
from tests.support.subjects import csr, public_line

SOCKET_ID = "socket-1"
_SSH_BASE = 2**63
_X509_BASE = 2**150


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one process does."""

    state_dir: str
    database_url: str
    count: int = 0
    """Certificates to try for, SSH and X.509 in turn."""
    serials: int = 0
    """How many different serial numbers it draws from; 0 for the product's own."""
    dies: str = ""
    """``before-commit``, ``after-commit``, or nothing: where it kills itself."""
    serves: str = ""
    """Path of a unix socket on which to serve the API, instead of issuing by itself."""

    def settings(self) -> Settings:
        extra = {"listen_socket": Path(self.serves)} if self.serves else {}
        return Settings(state_dir=Path(self.state_dir), database_url=self.database_url, **extra)


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _fail_where_told(plan: Plan) -> None:
    """Replace the functions around the moment the plan names; the product has no such places."""
    if plan.dies == "before-commit":
        add = LogTransaction.add

        def add_and_die(self: LogTransaction, growth: Any) -> None:
            add(self, growth)
            _die()

        LogTransaction.add = add_and_die  # type: ignore[method-assign]
    elif plan.dies == "after-commit":
        write = IssuanceLog._write

        def write_and_die(self: IssuanceLog, group: Any) -> Any:
            write(self, group)
            _die()

        IssuanceLog._write = write_and_die  # type: ignore[method-assign]


def _draw_from(few: int) -> None:
    def drawn(base: int) -> Callable[[], int]:
        return lambda: base + int.from_bytes(os.urandom(4)) % few

    idp_gateway.authority.ssh_serial = drawn(_SSH_BASE)
    idp_gateway.authority.x509_serial = drawn(_X509_BASE)


def released(gateway: Gateway, count: int) -> Iterator[dict[str, Any]]:
    """Issue, and tell what came out, one by one."""
    line = public_line(ed25519.Ed25519PrivateKey.generate())
    request = csr(ec.generate_private_key(ec.SECP256R1())).decode()
    for number in range(count):
        try:
            if number % 2:
                made = gateway.authority.issue_client_certificate(grant(action=Action.TLS), request)
                serial = format(made.certificate.serial, "x")
                yield {"serial": serial, "proof": made.proof.to_json()}
            else:
                issued = gateway.authority.issue_ssh_certificate(grant(action=Action.SSH), line)
                serial = str(issued.certificate.serial)
                yield {"serial": serial, "proof": issued.proof.to_json()}
        except Conflict:
            yield {"refused": True}


def main() -> None:
    """Do what the plan says."""
    plan = Plan(**json.loads(sys.argv[1]))
    if plan.serials:
        _draw_from(plan.serials)
    sys.stdin.readline()
    if plan.serves:
        # Takes longer to load than all the rest, which most processes do not need.
        from idp_gateway.server import serve  # noqa: PLC0415

        gateway = build_gateway(plan.settings())
        _fail_where_told(plan)
        serve(gateway)
        return
    gateway = build_gateway(plan.settings(), clock=lambda: NOW)
    _fail_where_told(plan)
    trust = gateway.trust() | {
        "hosts": gateway.authority.host_ca_lines,
        "log": str(gateway.log.key),
    }
    print(json.dumps({"trust": trust}), flush=True)
    sys.stdin.readline()
    for one in released(gateway, plan.count):
        print(json.dumps(one), flush=True)
    gateway.close()


@contextmanager
def processes(plans: Sequence[Plan]) -> Iterator[list[subprocess.Popen[str]]]:
    """One process for each plan; none is left afterwards."""
    with ExitStack() as stack:
        started = []
        for plan in plans:
            command = [sys.executable, "-m", "tests.support.issuing_process"]
            process = subprocess.Popen(
                [*command, json.dumps(asdict(plan))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[2],
            )
            started.append(stack.enter_context(process))
            stack.callback(process.kill)
        yield started


def tell(process: subprocess.Popen[str]) -> None:
    """Let it go on."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Its next line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the process ended: {process.wait()}"
    found: dict[str, Any] = json.loads(line)
    return found


if __name__ == "__main__":
    main()

"""Two gateway processes on one database, and processes killed in the middle of an issuance."""

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from ca.formats.log_proof import InclusionProof
from ca.formats.merkle import verify_consistency
from idp_gateway import sessions
from idp_gateway.composition import Gateway, build_gateway
from idp_gateway.issuance_log import entry_of
from idp_gateway.records import CertificateKind
from idp_gateway.settings import Settings
from policy.addresses import EmailAddress
from policy.types import Assurance, Identity, SocketType
from tests.support import rows
from tests.support.grants import NOW
from tests.support.issuing_process import SOCKET_ID, Plan, heard, processes, tell
from tests.support.postgres import Postgres, running_postgres
from tests.support.ready_database import new_postgres, place_sqlite
from tests.support.subjects import ec_key, public_line


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Makes a database, empty or at today's schema; its address."""
    path = tmp_path / "gateway.db"

    def sqlite(*, empty: bool) -> str:
        return f"sqlite:///{path if empty else place_sqlite(path)}"

    def postgresql(*, empty: bool) -> str:
        server: Postgres = request.getfixturevalue("postgres")
        return server.new_database() if empty else new_postgres(server)

    return sqlite if request.param == "sqlite" else postgresql


@pytest.fixture
def plan(new_database: Callable[..., str], tmp_path: Path) -> Callable[..., Plan]:
    """Makes plans for processes that share one database and state directory."""
    return partial(Plan, state_dir=str(tmp_path / "state"), database_url=new_database(empty=False))


def opened(settings: Settings) -> Gateway:
    return build_gateway(settings, clock=lambda: NOW)


def with_socket(plan: Plan) -> Gateway:
    """A gateway here, with the socket that certificates are for."""
    gateway = opened(plan.settings())
    owner = rows.account()
    gateway.store.add_account(owner)
    made = gateway.authority.new_user_ca(SOCKET_ID)
    kept = rows.socket(
        owner,
        socket_id=SOCKET_ID,
        dns_name="calm-otter-1.edge.test",
        ssh_ca_public=made.public,
        socket_type=SocketType.TLS,
        cloud_authentication_enabled=True,
        emails=("ann@corp.test",),
    )
    gateway.store.add_socket(kept, ports=rows.PORTS, user_ca=made)
    return gateway


def check_released(gateway: Gateway, one: dict[str, Any]) -> int:
    """What was released is on record, and its proof leads from the record; its index."""
    record = gateway.store.find_certificate(one["serial"])
    assert record is not None
    proof = InclusionProof.from_json(one["proof"])
    proof.verify(entry_of(record), gateway.log.key)
    assert record.log_index == proof.index
    return proof.index


def check_log(gateway: Gateway) -> int:
    """The tree is whole: each record has its leaf, proved from the newest checkpoint; its size."""
    records = gateway.store.certificates_of(SOCKET_ID)
    places = set()
    for record in records:
        proof = gateway.log.proof(record.serial)
        checkpoint = proof.verify(entry_of(record), gateway.log.key)
        assert checkpoint.size == len(records)
        assert record.log_index == proof.index
        places.add(proof.index)
    assert places == set(range(len(records)))
    return len(records)


def test_two_processes_never_release_one_serial_twice(plan: Callable[..., Plan]) -> None:
    gateway = with_socket(plan())
    few = 30
    with processes([plan(count=120, serials=few)] * 2) as pair:
        for process in pair:
            tell(process)
        for process in pair:
            heard(process)
        for process in pair:
            tell(process)
        answers = [[heard(process) for _ in range(120)] for process in pair]
        assert [process.wait(60) for process in pair] == [0, 0]
    serials = [one["serial"] for said in answers for one in said if "serial" in one]
    assert len(serials) == len(set(serials))
    # Both drew from the same few, so both must have been refused, and nearly all are used up.
    assert all(any("refused" in one for one in said) for said in answers)
    assert all(any("serial" in one for one in said) for said in answers)
    assert few <= len(serials) <= 2 * few
    places = [check_released(gateway, one) for said in answers for one in said if "serial" in one]
    assert sorted(places) == list(range(len(serials)))
    assert check_log(gateway) == len(serials)
    check_one_tree(gateway, [one for said in answers for one in said if "proof" in one])
    gateway.close()


def check_one_tree(gateway: Gateway, released: list[dict[str, Any]]) -> None:
    """Every checkpoint that either process ever signed is of one and the same tree."""
    notes = {InclusionProof.from_json(one["proof"]).checkpoint for one in released}
    newest = gateway.log.key.open(gateway.log.checkpoint())
    for note in notes:
        old = gateway.log.key.open(note)
        path = gateway.log.consistency(old.size, newest.size)
        assert verify_consistency(
            old=old.size, old_root=old.root, new=newest.size, new_root=newest.root, path=path
        )


def test_processes_that_start_together_have_one_set_of_keys(
    new_database: Callable[..., str], tmp_path: Path
) -> None:
    plan = Plan(state_dir=str(tmp_path / "state"), database_url=new_database(empty=True))
    with processes([plan] * 3) as three:
        for process in three:
            tell(process)
        first, *others = [heard(process)["trust"] for process in three]
        assert [first] * 2 == others
        for process in three:
            tell(process)
        assert [process.wait(60) for process in three] == [0, 0, 0]


@pytest.mark.parametrize(("dies", "kept"), [("before-commit", 0), ("after-commit", 1)])
def test_a_certificate_that_was_not_released_is_on_record_or_never_was(
    plan: Callable[..., Plan], dies: str, kept: int
) -> None:
    gateway = with_socket(plan())
    with processes([plan(count=2, dies=dies)]) as (process,):
        tell(process)
        heard(process)
        tell(process)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert said == ""
    assert check_log(gateway) == kept
    # Whoever comes next goes on with the same tree.
    with processes([plan(count=4)]) as (process,):
        tell(process)
        heard(process)
        tell(process)
        places = [check_released(gateway, heard(process)) for _ in range(4)]
        assert places == list(range(kept, kept + 4))
        assert process.wait(60) == 0
    assert check_log(gateway) == kept + 4
    gateway.close()


def test_killed_at_any_moment_nothing_was_released_that_is_not_on_record(
    plan: Callable[..., Plan],
) -> None:
    gateway = with_socket(plan())
    released = 0
    for after in (1, 12):
        with processes([plan(count=10_000)]) as (process,):
            tell(process)
            heard(process)
            tell(process)
            seen = [heard(process) for _ in range(after)]
            process.kill()
            assert process.stdout is not None
            rest = process.stdout.read().splitlines(keepends=True)
            seen += [json.loads(line) for line in rest if line.endswith("\n")]
            process.wait()
        for one in seen:
            check_released(gateway, one)
        released += len(seen)
    assert check_log(gateway) >= released
    gateway.close()


def test_over_http_a_crash_after_the_record_releases_nothing(
    plan: Callable[..., Plan], tmp_path: Path
) -> None:
    address = str(tmp_path / "s")
    gateway = with_socket(plan())
    token = client_token(plan())
    with processes([plan(serves=address, dies="after-commit")]) as (process,):
        tell(process)
        wait_until_served(address)
        transport = httpx.HTTPTransport(uds=address)
        with (
            httpx.Client(transport=transport, base_url="http://gateway", timeout=60) as client,
            pytest.raises(httpx.TransportError),
        ):
            client.post(
                "/mtls-ca/socket/calm-otter-1.edge.test/ssh",
                headers={"x-access-token": token},
                json={"ssh_public_key": public_line(ec_key())},
            )
        assert process.wait(60) == -signal.SIGKILL
    (record,) = gateway.store.certificates_of(SOCKET_ID)
    assert record.kind is CertificateKind.SSH_USER
    assert check_log(gateway) == 1
    gateway.close()


def client_token(plan: Plan) -> str:
    """What Ann's program holds after her login; by the real clock, as the process has it."""
    gateway = build_gateway(plan.settings())
    now = gateway.clock()
    ann = Identity(
        issuer="https://idp.test",
        subject="ann",
        email=EmailAddress.parse("ann@corp.test"),
        name="Ann",
        assurance=Assurance.PROVIDER_VERIFIED,
        authenticated_at=now,
    )
    _, session = sessions.begin_session(gateway.store, ann, life=timedelta(hours=1), now=now)
    token = gateway.tokens.client_token(
        subject="ann",
        email="ann@corp.test",
        dns_name="calm-otter-1.edge.test",
        port=20000,
        session_id=session.session_id,
        expires_at=session.expires_at,
    )
    gateway.close()
    return token


def wait_until_served(address: str) -> None:
    """Until the process listens."""
    end = time.monotonic() + 60
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.connect(address)
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.05)
        else:
            return

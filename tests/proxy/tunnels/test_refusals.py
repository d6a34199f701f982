"""Refusals in the edge's log."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from proxy.tunnels.ssh.refusals import MOST_LINES, PERIOD, RefusalLog
from tests.support.edge_state import ALICE
from tests.support.tunnel_bench import ssh_bench


class Lines(logging.Handler):
    """A logger of its own whose lines can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.logger = logging.Logger("tests")  # noqa: LOG001 - kept out of the tree on purpose
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_many_refusals_make_few_lines_and_one_that_counts_the_rest() -> None:
    shown, now = Lines(), [datetime(2026, 11, 23, tzinfo=UTC)]
    refusals = RefusalLog(shown.logger, lambda: now[0])
    for number in range(MOST_LINES + 7):
        refusals.write("refusal %d", number)
    assert shown.lines == [f"refusal {number}" for number in range(MOST_LINES)]
    now[0] += PERIOD - timedelta(seconds=1)
    refusals.write("still the same period")
    now[0] += timedelta(seconds=1)
    refusals.write("the next one")
    refusals.write("and another")
    assert shown.lines[MOST_LINES:] == [
        "8 more refusals are not listed here",
        "the next one",
        "and another",
    ]


async def test_a_client_cannot_fill_the_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "proxy")
    async with (
        ssh_bench(folder) as bench,
        asyncssh.connect(
            *("127.0.0.1", bench.backend.port),
            username=ALICE,
            client_keys=bench.edge.keys[ALICE],
            known_hosts=None,
            config=None,
            agent_path=None,
        ) as client,
    ):
        for _ in range(3 * MOST_LINES):
            with pytest.raises(asyncssh.ChannelListenError):
                await client.forward_remote_port("", 9, "127.0.0.1", 9)
    refused = [line for line in caplog.messages if "refused" in line]
    assert len(refused) == MOST_LINES

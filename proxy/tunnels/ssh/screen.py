"""The client's screen: a banner, then one line per request, for as long as the client stays.

Everything sent is printable ASCII with ``\\r\\n``: an old client decodes each read by itself, so a
character cut in two would end its log.
"""

import contextlib
from collections.abc import Callable, Mapping

import asyncssh

BUFFER = 64 * 1024
"""Bytes waiting for a slow client beyond its window; then lines are dropped and counted."""
INTERRUPTS = (b"\x03", b"\x04")
"""^C and ^D of a terminal in raw mode, where they arrive as bytes."""
RULE = "-" * 72


def printable(text: str, limit: int = 1000) -> str:
    """``text`` in printable ASCII: everything else as a backslash escape, cut at ``limit``."""
    shown = "".join(
        character if " " <= character <= "~" else character.encode("unicode_escape").decode()
        for character in text
    )
    return shown if len(shown) <= limit else f"{shown[: limit - 3]}..."


class LogScreen(asyncssh.SSHServerSession[bytes]):
    """A session channel; gives a shell to no one and reads nothing but an interrupt."""

    def __init__(
        self,
        banner: Callable[[], list[str]],
        on_open: Callable[["LogScreen"], None],
        on_close: Callable[["LogScreen"], None],
        on_interrupt: Callable[[], None],
    ) -> None:
        self._banner = banner
        self._on_open = on_open
        self._on_close = on_close
        self._on_interrupt = on_interrupt
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._has_terminal = False
        self._paused = False
        self._dropped = 0

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan
        chan.set_write_buffer_limits(high=BUFFER)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._channel = None
        self._on_close(self)

    def pty_requested(
        self,
        term_type: str,  # noqa: ARG002
        term_size: tuple[int, int, int, int],  # noqa: ARG002
        term_modes: Mapping[int, int],  # noqa: ARG002
    ) -> bool:
        self._has_terminal = True
        return True

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:  # noqa: ARG002
        return False

    def subsystem_requested(self, subsystem: str) -> bool:  # noqa: ARG002
        return False

    def session_started(self) -> None:
        for line in self._banner():
            self.show(line)
        self._on_open(self)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002
        if self._has_terminal and any(key in data for key in INTERRUPTS):
            self._on_interrupt()

    def eof_received(self) -> bool:
        """A client without a terminal has no input at all; its log goes on."""
        return True

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.show(f"({dropped} lines dropped: this screen reads too slowly)")

    def show(self, line: str) -> None:
        """One line, or a count later if the client does not keep up."""
        if self._channel is None:
            return
        if self._paused:
            self._dropped += 1
            return
        # A channel that is closing raises; what it would have shown nobody waits for.
        with contextlib.suppress(OSError):
            self._channel.write(printable(line).encode("ascii") + b"\r\n")

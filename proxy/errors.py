"""What can go wrong on an edge.

EdgeError
├── SettingsError        the configuration; ends the program with one line
├── FeedError            what the gateway sent is not a feed this edge can follow
├── GatewayUnavailable   the gateway did not answer, or answered with an error
└── TunnelRefused        a tunnel client asked for what it may not have
"""


class EdgeError(Exception):
    """Root of the edge's errors; ``reason`` is a stable kebab-case word, the message a sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SettingsError(EdgeError):
    """The configuration cannot be used; the message names the setting."""


class FeedError(EdgeError):
    """A feed message is malformed, does not follow the state, or leads to another digest."""


class GatewayUnavailable(EdgeError):  # noqa: N818 - a condition to wait out, not a mistake
    """The gateway is away or refused a call; try again later."""

    def __init__(self, reason: str, message: str, status: int | None = None) -> None:
        """``status`` is the HTTP status of a refusal."""
        super().__init__(reason, message)
        self.status = status


class TunnelRefused(EdgeError):  # noqa: N818 - an answer to the client, not a mistake
    """A login or a forward that the state does not allow."""

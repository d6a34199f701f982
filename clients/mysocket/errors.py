"""What stops ``mysocket``: one line each, never a traceback."""


class StackError(Exception):
    """Base and only class; ``reason`` is a stable word, the text one sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason

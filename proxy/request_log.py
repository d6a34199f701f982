"""One line per request or connection, for the screens of those who serve the socket."""

from proxy.envoy.access_log import FlowRecord

MAX_PATH = 300


def render_flow(record: FlowRecord) -> str:
    """For example ``2026-11-23 12:00:01 alice@example.test GET /path 200 123B 4ms 198.51.100.7``.

    Times are UTC. Whatever a client could have chosen is shown in printable ASCII without blanks.
    """
    when = f"{record.started_at:%Y-%m-%d %H:%M:%S}"
    who = _word(record.email, 100)
    cost = f"{record.bytes_sent}B {record.duration_ms}ms {_word(record.client, 60)}"
    if record.kind == "http":
        what = f"{_word(record.method, 20)} {_word(record.path, MAX_PATH)} {record.status}"
    else:
        what = f"connection {record.bytes_received}B up"
    refused = f" refused: {_word(record.denied, 200)}" if record.denied else ""
    return f"{when} {who} {what} {cost}{refused}"


def _word(text: str, limit: int) -> str:
    shown = "".join(
        character if "!" <= character <= "~" else character.encode("unicode_escape").decode()
        for character in text
    )
    shown = shown.replace(" ", "\\x20")
    return (shown if len(shown) <= limit else f"{shown[: limit - 3]}...") or "-"

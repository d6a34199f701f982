"""HTTP/1.1 as uvicorn reads it with httptools, with a limit that httptools does not have.

httptools (llhttp, in C) takes a fifth of the time h11 does, but collects headers without end.
"""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_OVERHEAD_BYTES = 64 * 1024
"""What a request may have besides its body: request line, headers, marks of chunks, trailers."""


class BoundedHttpProtocol(HttpToolsProtocol):
    """Answers 400 and closes when a request's overhead passes the limit, or where its body begins
    depends on who reads it.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._overhead = 0
        self._arrived = 0
        """Of the part being read, what is not known to be body."""

    def data_received(self, data: bytes) -> None:
        """Count what arrives, then read it."""
        self._arrived = len(data)
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MAX_OVERHEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of this request is too large.")

    def on_message_begin(self) -> None:
        """Begin to count anew. Heads that come in one part are counted together: nobody pipelines
        that many.
        """
        self._overhead = self._arrived
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Refuse an upgrade with a body: what llhttp reads next is the protocol asked for, and what
        a server that does not know it reads next is another request.

        Raises:
            ValueError: which httptools makes an answer of 400.
        """
        if any(_tells_of_body(*header) for header in self.headers) and self.parser.should_upgrade():
            raise ValueError("an upgrade has no body")
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The body has a limit of its own (``bounds``)."""
        self._overhead -= len(body)
        self._arrived -= len(body)
        super().on_body(body)


def _tells_of_body(name: bytes, value: bytes) -> bool:
    return name == b"transfer-encoding" or (name == b"content-length" and value != b"0")

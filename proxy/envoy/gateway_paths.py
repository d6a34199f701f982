"""Which request paths of the gateway are only for the edge itself."""

_INTERNAL = "internal"


def internal_path() -> str:
    """Regular expression (RE2, whole path) of every spelling of ``/internal`` and what is below.

    The gateway percent-decodes a path once, so each letter may be encoded in either case.
    """
    letters = "".join(f"(?:{letter}|%{ord(letter):x}|%{ord(letter):X})" for letter in _INTERNAL)
    return f"(?:/|%2f|%2F)+{letters}(?:(?:/|%2f|%2F|\\?|;|#).*)?"

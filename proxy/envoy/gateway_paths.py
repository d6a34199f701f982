"""Which request paths of the gateway the edge treats by themselves.

Regular expressions in RE2's words over whole paths, without their query. Where there is one slash
Envoy has seen to that: the gateway's listener merges them.
"""

_INTERNAL = "internal"
_API = "(?:/api/v1)?"


def internal_path() -> str:
    """Every spelling of ``/internal`` and what is below: only for the edge itself.

    The gateway percent-decodes a path once, so each letter may be encoded in either case.
    """
    letters = "".join(f"(?:{letter}|%{ord(letter):x}|%{ord(letter):X})" for letter in _INTERNAL)
    return f"(?:/|%2f|%2F)+{letters}(?:(?:/|%2f|%2F|\\?|;|#).*)?"


def long_path() -> str:
    """What takes long bodies: policies and lists of addresses.

    The gateway has a limit for each and asks who calls before it reads one; a test holds its paths
    and these together. In another spelling a path is like all others, and takes short bodies.
    """
    return f"{_API}/(?:policies(?:/.*)?|policy/.*|prefix-lists/.*)"


def lasting_path() -> str:
    """What is answered for as long as there is something to say: replays."""
    return f"{_API}/policies/diff"

"""What stands before sshd's message in a line of a log, and whether the message is of a login.

A line that may be about a login is passed over only where it surely is not: its message begins as
one that repeats what a stranger typed, or it is another program's. Everything else is the reader's
to report, for what a relay puts in front of a message is known to nobody in full.
"""

import re

LET_IN = rb"(?:Accepted|Partial) (?:publickey|hostbased) for "

_OF_ANOTHER = re.compile(
    # A host may be called as one of these words; so each goes on as far as sshd's message does.
    rb"(?:Access denied for|Address \S+ maps|Authentication (?:key|refused|tried)|Bad packet|"
    rb"Bad (?:remote )?protocol|Certificate (?:critical|extension|invalid|option)|"
    rb"Change of username|Close session:|"
    rb"Connection (?:closed|from|reset|to)|Could not|Did not receive|Disconnect(?:ed|ing)|"
    rb"(?:Failed|Postponed) [\w/-]+ for|(?:Illegal|Invalid) user|Nasty PTR|PAM |"
    rb"Read error from|Received (?:disconnect|request|signal)|ROOT LOGIN|Starting session:|"
    rb"Timeout(?:,| before)|Unable to|User|"
    rb"banner exchange:|maximum authentication attempts|reverse mapping|subsystem request|"
    rb"user(?:auth-request| \S+ authenticated)) "
    rb'|Accepted certificate ID "'
    rb"|(?:PAM|debug[1-3]?|error|fatal|[a-z0-9]+_[a-z0-9_]*(?:\([^\s)]*\))?): +(?!" + LET_IN + rb")"
)
"""How messages begin that hold what somebody chose who was not let in."""

_PRIORITY = rb"(?:<[0-9]{1,3}>)?"
_TIME = (
    rb"(?:(?:[A-Z][a-z]{2} +)?(?:(?:[0-9]{4} +)?[A-Z][a-z]{2} +[0-9]{1,2}(?: +[0-9]{4})?"
    rb"|[0-9]{4}-[0-9]{2}-[0-9]{2})"
    rb"(?:[ T][0-9:.,]+)?(?:[+-][0-9:]+|Z)?(?: UTC)?:? +|\[? *[0-9]+\.[0-9]+\]? +)"
)
_BEGINNING = re.compile(_PRIORITY + rb"(?P<time>" + _TIME + rb")?")
_RFC_5424 = re.compile(
    _PRIORITY + rb"1 " + _TIME + rb"\S+ +(?P<program>\S+) +[0-9-]+ +\S+ +"
    rb'(?:-|(?:\[(?:[^\]"]|"(?:[^"\\]|\\.)*")*\])+) +(?:\xef\xbb\xbf)?'
)
_SSHD = rb"(?:\S*/)?sshd?(?:[@.-][\w@.:-]*)?(?:\[[0-9]+\])?: +"
_HOST_AND_SSHD = re.compile(rb"(?:\S+ +)?" + _SSHD)
_WORDS_AND_SSHD = re.compile(rb"(?:\S+ +){2}" + _SSHD)
_SOME_PROGRAM = re.compile(rb"(?:\S+ +){0,2}?\S+: +(?=" + LET_IN + rb")")
_ANY_PROGRAM = re.compile(rb"(?:\S+ +){1,2}?\S+\[[0-9]+\]: +")
_NEIGHBOURS = rb"(?:CRON|audit|crond?|doas|kernel|login|pkexec|polkitd|su|sudo|systemd[a-z-]*)"
_OF_NEIGHBOUR = re.compile(rb"\S+ +" + _NEIGHBOURS + rb"(?:\[[0-9]+\])?: +(?!" + _SSHD + rb")")
"""Programs whose lines stand among sshd's; sudo's hold whole commands, such as a grep."""
_MARKS = re.compile(
    rb"(?:" + _SSHD + rb")?"
    rb"(?:\[[0-9]+\]:? +|\[ID [0-9]+ [a-z0-9]+\.[a-z]+\] +|(?:auth(?:priv)?|info|notice): +)*"
)
"""What syslogs write between sshd's name, which may be there twice, and its message."""
_REPEATED = re.compile(rb"message repeated [0-9]+ times: \[ ?")
_MOST_REPEATED = 799
"""Bytes of a message that rsyslog repeats at most, with the blank before."""

_OF_SYSLOG = re.compile(
    _PRIORITY + _TIME + rb"\S+ +\S+: "
    # What journalctl says beside lines, or in place of them.
    rb"|-- (?:Boot |Journal begins |Logs begin |No entries )"
)
_HEAD_BYTES = 512

_speaks_of_login = re.compile(LET_IN).match


class UnknownLine(Exception):  # noqa: N818 - no error: it is to be reported
    """It cannot be said whose message this is."""


def login_message(line: bytes) -> bytes | None:
    """sshd's message of a login, without what stands before; ``None`` if the line is of another.

    Raises UnknownLine if that cannot be told.
    """
    line = line.rstrip(b"\r\n")
    message = _message(line)
    if message is None:
        return None
    if repeated := _REPEATED.match(message):
        message = message[repeated.end() :]
        if not message.endswith(b"]") or len(message) > _MOST_REPEATED:
            raise UnknownLine
        message = message[:-1]
    if _OF_ANOTHER.match(message):
        return None
    if not _speaks_of_login(message):
        raise UnknownLine
    return message


def _message(line: bytes) -> bytes | None:
    """What follows the head; ``None`` if it is another program's."""
    if modern := _RFC_5424.match(line):
        of_neighbour = re.fullmatch(_NEIGHBOURS, modern["program"])
        return None if of_neighbour else _bare(line[modern.end() :])
    beginning = _BEGINNING.match(line)
    rest = line[beginning.end() if beginning else 0 :]
    # A word before sshd's name is a host, whatever it is called: no message begins like that.
    if head := _HOST_AND_SSHD.match(rest):
        return _bare(rest[head.end() :])
    if _OF_ANOTHER.match(rest) or _speaks_of_login(rest):
        return rest
    if head := _WORDS_AND_SSHD.match(rest):
        return _bare(rest[head.end() :])
    return _of_some_program(rest) if beginning and beginning["time"] else rest


def _of_some_program(rest: bytes) -> bytes | None:
    if _OF_NEIGHBOUR.match(rest):
        return None
    program = _SOME_PROGRAM.match(rest) or _ANY_PROGRAM.match(rest)
    return rest[program.end() if program else 0 :]


def _bare(message: bytes) -> bytes:
    """Without the marks in front."""
    marks = _MARKS.match(message)
    return message[marks.end() if marks else 0 :]


def is_of_syslog(line: bytes) -> bool:
    """Whether a line is one of a syslog or a journal, whichever program's."""
    head = line[:_HEAD_BYTES]
    return bool(_OF_SYSLOG.match(head) or _RFC_5424.match(head))

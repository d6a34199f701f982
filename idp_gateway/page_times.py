"""Times as pages say them, and offer them."""

from datetime import datetime

_TIMES = (15, 30, 60, 4 * 60, 8 * 60, 24 * 60, 3 * 24 * 60, 7 * 24 * 60, 14 * 24 * 60, 30 * 24 * 60)


def times(longest: int) -> list[tuple[int, str]]:
    """Minutes to choose from and their words, up to ``longest`` minutes."""
    return [(minutes, in_words(minutes)) for minutes in _TIMES if minutes <= longest]


def in_words(minutes: int) -> str:
    """A number of minutes as people say it."""
    for size, word in ((24 * 60, "day"), (60, "hour")):
        if minutes % size == 0:
            number = minutes // size
            return f"{number} {word}{'' if number == 1 else 's'}"
    return f"{minutes} minute{'' if minutes == 1 else 's'}"


def shown(moment: datetime) -> str:
    """A moment in UTC, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"

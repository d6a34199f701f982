"""Names of sockets: shape, reach, and words that can stand in a DNS label."""

import re
import secrets

from hypothesis import given
from hypothesis import strategies as st

from idp_gateway.names import ADJECTIVES, NOUNS, random_name

NAME = re.compile(r"[a-z]+-[a-z]+-[1-9][0-9]{3}")


@given(st.integers(min_value=0))
def test_every_choice_makes_a_name_of_three_parts(choice: int) -> None:
    name = random_name(lambda n: choice % n)
    assert NAME.fullmatch(name)
    assert len(name) <= 63


def test_the_first_and_the_last_choice() -> None:
    assert random_name(lambda _: 0) == "able-acorn-1000"
    assert random_name(lambda n: n - 1) == "zesty-zebra-9999"


def test_there_are_many_words_and_none_twice() -> None:
    for words in (ADJECTIVES, NOUNS):
        assert len(words) >= 100
        assert len(set(words)) == len(words)


def test_names_differ() -> None:
    assert len({random_name(secrets.randbelow) for _ in range(200)}) > 190

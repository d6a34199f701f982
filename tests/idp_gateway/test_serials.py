"""Serial numbers as people print them."""

import pytest

from idp_gateway.serials import NONE, as_kept


@pytest.mark.parametrize(
    ("printed", "kept"), [("0A:BC", "abc"), ("00ff", "ff"), ("12", "12"), ("100", "100")]
)
def test_there_is_one_spelling(printed: str, kept: str) -> None:
    assert as_kept(printed) == kept


@pytest.mark.parametrize("nothing", ["", "0", "000", ":", "00:00"])
def test_what_is_no_number_does_not_pass_for_no_question(nothing: str) -> None:
    assert as_kept(nothing) == NONE

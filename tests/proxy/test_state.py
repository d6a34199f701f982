"""What changed between two revisions."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.state import changed_keys

ENTRIES = st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 1), max_size=1))


@given(ENTRIES, ENTRIES)
def test_every_difference_is_found_and_nothing_else(
    before: dict[str, list[int]], after: dict[str, list[int]]
) -> None:
    expected = {key for key in before | after if before.get(key) != after.get(key)}
    assert changed_keys(before, after) == expected
    assert changed_keys(before, before) == frozenset()

"""Names and paths that must be recognised in every spelling."""

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.envoy.gateway_paths import internal_path
from proxy.envoy.headers import refused_names

PUNCTUATION = "!#$%&'*+-.^_`|~"


@given(
    name=st.sampled_from(["x-auth-email", "x-auth-name", "x-remote-user", "x-auth-x", "x-auth"]),
    marks=st.text(PUNCTUATION, min_size=2, max_size=2),
)
def test_any_punctuation_in_an_identity_header_is_seen_through(name: str, marks: str) -> None:
    first, _, rest = name.partition("-")
    second, dash, third = rest.partition("-")
    spelled = first + marks[0] + second + (marks[1] if dash else "") + third
    assert re.fullmatch(refused_names(), spelled)


@pytest.mark.parametrize(
    "name",
    [
        "authorization",
        "x-authentic",
        "x-requested-with",
        "cookie",
        "x-csrf-token",
        "accept",
        "x-forwarded-for",
        "x-forwarded-proto",
        "www-authenticate",
        "proxy-connection",
        "x-author",
    ],
)
def test_ordinary_headers_pass(name: str) -> None:
    assert not re.fullmatch(refused_names(), name)


@given(st.text("/internal%2fF69eEcC4aA;?.", max_size=40))
def test_no_path_that_decodes_to_internal_gets_through(path: str) -> None:
    decoded = unquote("/" + path)
    inside = re.match(r"/+internal(?:[/;?]|$)", decoded)
    if inside:
        assert re.fullmatch(internal_path(), "/" + path)


@pytest.mark.parametrize("path", ["/", "/internals", "/login", "/user/internal", "/internal-x"])
def test_other_paths_are_open(path: str) -> None:
    assert not re.fullmatch(internal_path(), path)

"""Where a browser may be sent: property tests of the parsers in front of every redirect."""

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_gateway.targets import (
    LoopbackAddress,
    ReturnTo,
    SocketTarget,
    TargetRefused,
    origin_of,
    parse_authority,
    parse_host,
    parse_path,
    parse_port,
    path_or_root,
)

NASTY = st.text(alphabet="/\\:@.?#%ab \t\n\r\0\x7f;&=09é", max_size=24)


@given(NASTY)
def test_an_accepted_path_stays_on_its_host(text: str) -> None:
    try:
        path = parse_path(text)
    except TargetRefused:
        return
    assert urlsplit(urljoin("https://socket.test/x", path)).netloc == "socket.test"
    assert path.isascii()
    assert path.isprintable()
    assert not path.startswith(("//", "/\\"))


@given(NASTY)
def test_an_accepted_host_is_canonical(text: str) -> None:
    try:
        host = parse_authority(text)
    except TargetRefused:
        return
    assert parse_host(host) == host
    assert urlsplit(f"https://{host}/").netloc == host


@given(NASTY, NASTY)
def test_a_target_is_a_host_and_a_path(host: str, path: str) -> None:
    try:
        target = SocketTarget.parse(host, path)
    except TargetRefused:
        return
    assert (target.host, target.path[0]) == (host, "/")


@given(st.text(max_size=40).map(lambda text: f"http://127.0.0.1:{text}/callback") | NASTY)
def test_an_accepted_redirect_is_loopback(text: str) -> None:
    try:
        address = LoopbackAddress.parse(text)
    except TargetRefused:
        return
    assert str(address) == text
    assert urlsplit(text).hostname in {"127.0.0.1", "::1"}
    assert urlsplit(text).port == address.port


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/a?b=c%20d#", "/a?b=c%20d#"),
        ("/", "/"),
        ("/a//b", "/a//b"),
        ("//a", "/"),
        ("/\\a", "/"),
        ("/\ta", "/"),
        ("", "/"),
        ("a", "/"),
        ("/" + "a" * 5000, "/"),
        ("/.mysocket/logout", "/"),
    ],
)
def test_paths_that_are_remembered(path: str, kept: str) -> None:
    assert path_or_root(path) == kept


@pytest.mark.parametrize("text", ["//evil.test", "https://evil.test", "/\\x", "", "/a\nb"])
def test_a_return_address_is_a_path(text: str) -> None:
    with pytest.raises(TargetRefused):
        ReturnTo.parse(text)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://A.test:443/x?y", "https://a.test"),
        ("http://127.0.0.1:9400/", "http://127.0.0.1:9400"),
        ("http://[::1]:1/", "http://[::1]:1"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    "url", ["https://a@b.test/", "ftp://a", "https://", "https://a b/", "https://a:x/", "https:a"]
)
def test_what_has_no_origin(url: str) -> None:
    with pytest.raises(TargetRefused):
        origin_of(url)


@pytest.mark.parametrize("text", ["1024", "65535", "50123"])
def test_ports(text: str) -> None:
    assert parse_port(text) == int(text)

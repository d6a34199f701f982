"""Our cookies, read strictly, and the signed state in them."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idp_gateway.cookies import SESSION, CookieRefused, clear_cookie, read_cookies, set_cookie
from idp_gateway.forms import FormRefused, SignatureRefused, Signer, browser_signer
from idp_gateway.targets import ReturnTo

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SIGNER = browser_signer(b"m" * 32)


def test_others_cookies_are_left_out() -> None:
    long = "x=" + "a" * 20_000
    assert read_cookies([f"a=b; {SESSION}=x", "c=d; e", long]) == {SESSION: "x"}


@pytest.mark.parametrize(
    "lines",
    [
        [f"{SESSION}=a; {SESSION}=b"],
        [f"{SESSION}=a", f"{SESSION}=a"],
        [f"{SESSION}=a; {SESSION.upper()}=b"],
        [f"{SESSION.lower()}=b"],
        [SESSION],
        [f"{SESSION}=a b"],
        [f'{SESSION}="a"'],
        [f"{SESSION}=" + "a" * 20_000],
    ],
    ids=lambda lines: str(lines)[:40],
)
def test_what_is_ambiguous_is_refused(lines: list[str]) -> None:
    with pytest.raises(CookieRefused):
        read_cookies(lines)


@given(st.lists(st.text(max_size=60), max_size=4))
def test_reading_is_total(lines: list[str]) -> None:
    with suppress(CookieRefused):
        read_cookies(lines)


def test_written_cookies_are_host_only() -> None:
    line = set_cookie(SESSION, "x", max_age=timedelta(minutes=5))

    assert line == f"{SESSION}=x; Max-Age=300; Path=/; Secure; HttpOnly; SameSite=Lax"
    assert "Max-Age=0;" in clear_cookie(SESSION)


def test_a_signature_is_for_one_purpose_until_its_end() -> None:
    text = SIGNER.sign("one", {"a": 1}, until=NOW + timedelta(minutes=1))

    assert SIGNER.read("one", text, now=NOW) == {"a": 1}
    refusals = [
        ("two", text, NOW),
        ("one", text, NOW + timedelta(minutes=1)),
        ("one", text[:-1] + ("A" if text[-1] != "A" else "B"), NOW),
        ("one", "", NOW),
        ("one", "x" * 20_000, NOW),
    ]
    for purpose, tampered, now in refusals:
        with pytest.raises(SignatureRefused):
            SIGNER.read(purpose, tampered, now=now)
    with pytest.raises(SignatureRefused):
        browser_signer(b"n" * 32).read("one", text, now=NOW)


@given(st.text(max_size=80))
def test_reading_a_signature_is_total(text: str) -> None:
    with pytest.raises(SignatureRefused):
        SIGNER.read("one", text, now=NOW)


def test_the_start_page_needs_no_signature() -> None:
    assert SIGNER.sign_return(ReturnTo(), now=NOW) == ""
    assert SIGNER.read_return("", now=NOW) == ReturnTo()
    kept = SIGNER.sign_return(ReturnTo("/device"), now=NOW)
    assert SIGNER.read_return(kept, now=NOW) == ReturnTo("/device")


@pytest.mark.parametrize(
    ("purpose", "browser", "site"),
    [
        ("login", "b", "cross-site"),
        ("logout", "b", None),
        ("login", "c", None),
        ("login", "", None),
    ],
)
def test_a_form_is_for_one_browser_and_purpose(
    purpose: str, browser: str, site: str | None
) -> None:
    token = SIGNER.form_token("login", "b", now=NOW)
    SIGNER.check_form("login", token, browser="b", fetch_site="same-origin", now=NOW)

    with pytest.raises(FormRefused):
        SIGNER.check_form(purpose, token, browser=browser, fetch_site=site, now=NOW)


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(Signer(b"very secret")).replace("Signer", "")

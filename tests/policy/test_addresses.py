"""Reading addresses: all text is either one plain address or refused with our own error."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.addresses import DomainName, EmailAddress
from policy.errors import AddressError


@given(st.text(max_size=300))
def test_every_text_is_an_address_or_an_address_error(text: str) -> None:
    for kind in (EmailAddress, DomainName):
        try:
            parsed = kind.parse(text)
        except AddressError:
            continue
        else:
            assert kind.parse(str(parsed)) == parsed
            assert str(parsed).isascii()
            assert str(parsed) == str(parsed).lower()


@given(
    st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9]{1,10}(\.[A-Za-z0-9]{1,10}){1,3}", fullmatch=True),
)
def test_reading_is_idempotent_and_ignores_ascii_case(local: str, domain: str) -> None:
    parsed = EmailAddress.parse(f"{local}@{domain}")
    assert EmailAddress.parse(str(parsed)) == parsed
    assert EmailAddress.parse(f"{local}@{domain}".upper()) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a@",
        "@b.test",
        "a@b",
        "a@evil@corp.test",
        "a b@c.test",
        "a@b.test ",
        " a@b.test",
        "a@b.test.",
        "a@b..test",
        ".a@b.test",
        "a.@b.test",
        "a..b@c.test",
        '"a"@b.test',
        "A <a@b.test>",
        "a@[192.0.2.1]",
        "a@-b.test",
        "a@b_c.test",
        "a@b.test\n",
        "a@b.test\x00",
        "a\x00@b.test",
        "a,b@c.test",
        "a@b.test,c@d.test",
        "x" * 65 + "@b.test",
        "a@" + "b" * 64 + ".test",
        "a@" + ".".join(["bb"] * 90),
    ],
)
def test_what_is_not_one_plain_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        EmailAddress.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "\N{KELVIN SIGN}@corp.test",
        "m\N{LATIN SMALL LETTER DOTLESS I}ke@corp.test",
        "\N{LATIN SMALL LETTER LONG S}am@corp.test",
        "\N{CYRILLIC SMALL LETTER A}lice@corp.test",
        "alice@corp\N{FULLWIDTH FULL STOP}test",
        "alice\N{FULLWIDTH COMMERCIAL AT}corp.test",
        "alice@corp\N{IDEOGRAPHIC FULL STOP}test",
        "alice@\N{FULLWIDTH LATIN SMALL LETTER C}orp.test",
        "alice@corp.test\N{ZERO WIDTH SPACE}",
    ],
)
def test_a_look_alike_in_unicode_is_refused_or_stays_another_address(text: str) -> None:
    plain = {EmailAddress.parse(f"{name}@corp.test") for name in ("k", "mike", "sam", "alice")}
    with contextlib.suppress(AddressError):
        assert EmailAddress.parse(text) not in plain


def test_a_unicode_domain_becomes_its_a_labels() -> None:
    assert str(DomainName.parse("BÜCHER.test".lower())) == "xn--bcher-kva.test"

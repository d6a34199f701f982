"""What is known of an address, and what happens when the files are replaced or damaged."""

import logging
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from idp_gateway import origins
from idp_gateway.origins import Origin, Origins
from tests.support.range_files import countries, networks, write_ranges

DUTCH, GERMAN = ip_address("192.0.2.1"), ip_address("198.51.100.1")
NEITHER = ip_address("2001:db8::1")


@pytest.fixture(autouse=True)
def looks_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origins, "LOOK_SECONDS", 0)


def test_countries_and_networks(tmp_path: Path) -> None:
    known = Origins(
        country_file=countries(tmp_path / "c.mmdb", NL="192.0.2.0/24", DE="198.51.100.0/24"),
        asn_file=networks(tmp_path / "a.mmdb", {"192.0.2.0/25": 64500, "2001:db8::/32": 64501}),
    )
    assert known.of(DUTCH) == Origin(address=DUTCH, country="NL", asn=64500)
    assert known.of(GERMAN) == Origin(address=GERMAN, country="DE", asn=None)
    assert known.of(NEITHER) == Origin(address=NEITHER, country=None, asn=64501)


def test_ipv4_written_as_ipv6_is_looked_up_as_ipv4(tmp_path: Path) -> None:
    known = Origins(
        country_file=countries(tmp_path / "c.mmdb", NL="192.0.2.0/24"),
        asn_file=networks(tmp_path / "a.mmdb", {"192.0.2.0/25": 64500}),
    )
    mapped = ip_address("::ffff:192.0.2.1")
    assert known.of(mapped) == Origin(address=mapped, country="NL", asn=64500)


def test_without_files_nothing_is_known() -> None:
    assert Origins(country_file=None, asn_file=None).of(DUTCH) == Origin(address=DUTCH)


@pytest.mark.parametrize(
    ("said", "country", "asn"),
    [
        ({"country_code": "nl", "asn": "AS64500"}, "NL", 64500),
        ({"country": "NL", "country_code": "NL", "asn": "64500"}, "NL", 64500),
        ({"country": "Netherlands", "asn": "AS"}, None, None),
        ({"country": {"iso_code": "N"}, "autonomous_system_number": 0}, None, None),
        ({"country": {"names": {"en": "x"}}, "asn": "AS99999999999"}, None, None),
        ({"country": {"iso_code": 7}, "asn": "AS-1"}, None, None),
        ({"registered_country": {"iso_code": "NL"}}, None, None),
        ({"country": ["NL"], "asn": [1]}, None, None),
    ],
)
def test_files_of_other_makers_and_odd_ones(
    tmp_path: Path, said: dict[str, Any], country: str | None, asn: int | None
) -> None:
    path = write_ranges(tmp_path / "f.mmdb", {"192.0.2.0/24": said}, "Test")
    found = Origins(country_file=path, asn_file=path).of(DUTCH)
    assert (found.country, found.asn) == (country, asn)


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "c.mmdb"
    known = Origins(country_file=path, asn_file=None)
    assert known.of(DUTCH).country is None
    countries(path, NL="192.0.2.0/24")
    assert known.of(DUTCH).country == "NL"
    countries(path, BE="192.0.2.0/24")
    assert known.of(DUTCH).country == "BE"
    path.unlink()
    assert known.of(DUTCH).country is None


def test_a_damaged_file_makes_everything_unknown_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = countries(tmp_path / "c.mmdb", NL="192.0.2.0/24")
    whole = path.read_bytes()
    known = Origins(country_file=path, asn_file=None)
    assert known.of(DUTCH).country == "NL"
    with caplog.at_level(logging.WARNING):
        path.write_bytes(b"not such a file")
        assert [known.of(DUTCH).country for _ in range(3)] == [None] * 3
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        known.of(DUTCH)
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
        known.of(DUTCH)
    path.write_bytes(whole + b"")
    countries(path, NL="192.0.2.0/24")
    assert known.of(DUTCH).country == "NL"

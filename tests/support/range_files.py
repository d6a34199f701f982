"""Small files in MaxMind's format."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmdb_writer import MMDBWriter
from netaddr import IPSet


def write_ranges(path: Path, ranges: Mapping[str, Mapping[str, Any]], kind: str) -> Path:
    """A file that says this of these networks and nothing of others."""
    writer = MMDBWriter(ip_version=6, ipv4_compatible=True, database_type=kind, languages=["en"])
    for network, said in ranges.items():
        writer.insert_network(IPSet([network]), dict(said))
    fresh = path.with_suffix(".new")
    writer.to_db_file(str(fresh))
    fresh.replace(path)
    return path


def countries(path: Path, **codes: str) -> Path:
    """A country file: ``NL="192.0.2.0/24"``."""
    ranges = {network: {"country": {"iso_code": code}} for code, network in codes.items()}
    return write_ranges(path, ranges, "Test-Country")


def networks(path: Path, ranges: Mapping[str, int]) -> Path:
    """A file of autonomous systems."""
    said = {network: {"autonomous_system_number": asn} for network, asn in ranges.items()}
    return write_ranges(path, said, "Test-ASN")

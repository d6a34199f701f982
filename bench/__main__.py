"""``python -m bench [--quick] [name…]``: run, print a table; a full run is kept as the report.

The report is ``bench/report.md`` and ``bench/report.svg``. A run of some benchmarks, or a
quick one, leaves it alone.
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import (
    certificates,
    decisions,
    discovery,
    edge_state,
    handshakes,
    issuance,
    replay,
    requests,
    signers,
)
from bench.figures import Figure, chart, table

BENCHMARKS: Mapping[str, Callable[[bool], list[tuple[str, float, str, str, float]]]] = {
    "requests": requests.run,
    "handshakes": handshakes.run,
    "certificates": certificates.run,
    "signers": signers.run,
    "issuance": issuance.run,
    "discovery": discovery.run,
    "edge_state": edge_state.run,
    "decisions": decisions.run,
    "replay": replay.run,
}
REPORT = Path(__file__).with_name("report.md")
CHART = REPORT.with_suffix(".svg")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"some of {list(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="a second each: does it run at all?")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHMARKS):
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}")
    began = time.monotonic()
    figures = []
    for name in arguments.names or BENCHMARKS:
        print(f"measuring {name} …", file=sys.stderr)
        figures += [Figure(*row) for row in BENCHMARKS[name](arguments.quick)]
    print(table(figures))
    seconds = time.monotonic() - began
    if arguments.names or arguments.quick:
        print(f"\n{seconds:.0f} s; the report is of full runs and stays as it was")
        return 0
    CHART.write_text(chart(figures), "utf-8")
    REPORT.write_text(report(figures, seconds), "utf-8")
    print(f"\n{seconds:.0f} s; kept in {REPORT} and {CHART.name}")
    return 0


def report(figures: list[Figure], seconds: float) -> str:
    """One full run as a page."""
    cores = len(os.sched_getaffinity(0))
    return (
        "# One run of `make bench`\n\n"
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {cores} cores, Python "
        f"{platform.python_version()}, {seconds:.0f} s. Where a peer is named, the ratio is the "
        "product's figure as a multiple of the peer's, taken in the same run.\n\n"
        f"```\n{table(figures)}\n```\n\n![Ratios](report.svg)\n"
    )


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bench [--quick] [name…]``: run, print a table, write ``report.svg``."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import certificates, edge_state, handshakes, requests
from bench.figures import Figure, chart, table

BENCHMARKS: Mapping[str, Callable[[bool], list[tuple[str, float, str, str, float]]]] = {
    "requests": requests.run,
    "handshakes": handshakes.run,
    "certificates": certificates.run,
    "edge_state": edge_state.run,
}
REPORT = Path(__file__).with_name("report.svg")


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
    REPORT.write_text(chart(figures), "utf-8")
    print(f"\n{time.monotonic() - began:.0f} s; chart in {REPORT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

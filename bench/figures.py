"""What a benchmark hands back, and how it is shown."""

from html import escape
from typing import NamedTuple


class Figure(NamedTuple):
    """One measured value of the product beside the same value of a peer, taken in the same run."""

    name: str
    value: float
    unit: str
    peer: str
    """Who it is compared with; empty when there is no peer."""
    ratio: float
    """The product's value as a multiple of the peer's; 0 without a peer."""


def table(figures: list[Figure]) -> str:
    """The figures as aligned text."""
    rows = [("what", "measured", "", "against", "ratio")]
    rows += [
        (f.name, f"{f.value:,.1f}", f.unit, f.peer, f"{f.ratio:.2f}" if f.peer else "")
        for f in figures
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    aligned = ["<", ">", "<", "<", ">"]
    return "\n".join(
        "  ".join(map(format, row, map("{}{}".format, aligned, widths))).rstrip() for row in rows
    )


def chart(figures: list[Figure]) -> str:
    """The ratios as an SVG bar chart with a line at 1, where product and peer are equal."""
    compared = [f for f in figures if f.peer]
    scale = 360 / max(1.5, *(f.ratio for f in compared)) if compared else 240
    height = 40 + 28 * len(compared)
    bars = []
    for row, figure in enumerate(compared):
        y = 30 + 28 * row
        label = escape(f"{figure.name} / {figure.peer}")
        bars.append(
            f'<text x="330" y="{y + 14}" text-anchor="end">{label}</text>'
            f'<rect x="340" y="{y}" width="{figure.ratio * scale:.1f}" height="18" fill="#3465a4"/>'
            f'<text x="{346 + figure.ratio * scale:.1f}" y="{y + 14}">{figure.ratio:.2f}</text>'
        )
    one = 340 + scale
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="780" height="{height}" '
        'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<line x1="{one:.1f}" y1="20" x2="{one:.1f}" y2="{height - 10}" stroke="#cc0000"/>'
        f'<text x="{one:.1f}" y="15" text-anchor="middle">equal to the peer</text>'
        f"{''.join(bars)}</svg>\n"
    )

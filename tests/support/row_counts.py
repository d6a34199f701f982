"""How many rows the running product's database holds: what is left behind shows."""

import sqlite3
from contextlib import closing

from tests.support.product import Product

COMING_AND_GOING = {"edges", "tunnel_reports", "login_failures"}
"""Heartbeats, and the counters that slow down guessing: these may change by themselves."""


def row_counts(product: Product, *beside: str) -> dict[str, int]:
    """Rows by table, without those that come and go, and ``beside`` them."""
    with closing(sqlite3.connect(product.state / "gateway.db", timeout=10)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {
            name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
            for (name,) in tables
            if name not in COMING_AND_GOING | set(beside)
        }

"""The orders of the shop, in a file beside this one. It knows nothing of Peaker."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

FILE = Path(__file__).with_name("orders.sqlite")

_TABLES = """
create table if not exists payment (delivery text primary key, order_id text not null, cents integer not null);
create table if not exists run (delivery text not null);
"""


@contextmanager
def _connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(FILE, timeout=10)) as connection:
        connection.executescript(_TABLES)
        with connection:
            yield connection


def note_payment(delivery: str, order_id: str, cents: int) -> bool:
    """Write a payment down; False where this delivery was written down before: an event may come more than once."""
    with _connection() as connection:
        connection.execute("insert into run values (?)", (delivery,))
        done = connection.execute(
            "insert into payment values (?, ?, ?) on conflict do nothing", (delivery, order_id, cents)
        )
        return done.rowcount == 1


def paid() -> dict[str, int]:
    """What was paid for each order, in cents."""
    with _connection() as connection:
        return dict(connection.execute("select order_id, sum(cents) from payment group by 1 order by 1"))


def runs() -> int:
    """How often a payment was handled, repeats included."""
    with _connection() as connection:
        return int(connection.execute("select count(*) from run").fetchone()[0])

"""Protocol log lines before they are written: which connection, when, and the fields of their own."""

from dataclasses import dataclass, field

import numpy as np
import orjson

from .draw import Ints, dice
from .plant import Plant
from .wire import Conns

Fields = dict[str, object]
"""Field names and values as Zeek's JSON writer prints them."""


@dataclass(slots=True)
class Lines:
    """Lines of one Zeek log: positions in the day's connections, times, and JSON behind the id fields."""

    rows: list[int] = field(default_factory=list)
    ts: list[int] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)

    def add(self, row: int, ts: int, fields: Fields) -> None:
        """Adds a line from its fields; values that Zeek would leave unset are simply not given."""
        self.add_tail(row, ts, orjson.dumps(fields)[1:-1].decode())

    def add_tail(self, row: int, ts: int, tail: str) -> None:
        """Adds a line whose fields are JSON text already."""
        self.rows.append(row)
        self.ts.append(ts)
        self.tails.append(tail)


Logs = dict[str, Lines]
"""Lines by log name."""


@dataclass(frozen=True, slots=True)
class Talk:
    """One answered connection, as the functions that write its protocol records see it.

    Args:
        row: its position in the day's connections.
        ts, duration: µs.
        orig, resp: positions in `Plant.hosts`.
        detail: as in `acts.ActTable`.
        turns: requests in it.
        dice: large numbers for the small choices of this connection.
    """

    row: int
    ts: int
    duration: int
    kind: int
    orig: int
    orig_p: int
    resp: int
    resp_p: int
    user: str
    detail: int
    turns: int
    orig_bytes: int
    resp_bytes: int
    dice: list[int]

    def moment(self, step: int, steps: int) -> int:
        """When the ``step``-th of ``steps`` things of this conversation happens."""
        return self.ts + self.duration * (step + 1) // (steps + 2)


def talks(conns: Conns, rows: Ints, plant: Plant, rng: np.random.Generator, width: int = 8) -> list[Talk]:
    """The given connections, with ``width`` dice each."""
    part = conns.take(rows)
    users = [plant.accounts[user] for user in part.user.tolist()]
    columns = (
        rows.tolist(),
        part.ts.tolist(),
        part.duration.tolist(),
        part.kind.tolist(),
        part.orig.tolist(),
        part.orig_p.tolist(),
        part.resp.tolist(),
        part.resp_p.tolist(),
        users,
        part.detail.tolist(),
        part.turns.tolist(),
        part.orig_bytes.tolist(),
        part.resp_bytes.tolist(),
        dice(rng, len(rows), width),
    )
    return [Talk(*values) for values in zip(*columns, strict=True)]

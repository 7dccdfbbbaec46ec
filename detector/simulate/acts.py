"""What hosts mean to do: the intents of a day, before anybody knows how they look on the wire."""

from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from .draw import Ints, Mask
from .services import Kind

DRAWN: Final = 0  # the network decides whether it works out
SURE: Final = 1  # it works out: later acts depend on it
DEAD: Final = 2  # nobody is there to answer


@dataclass(frozen=True, slots=True)
class ActTable:
    """One row an intended conversation.

    Args:
        ts: when it starts, µs.
        kind: `services.Kind`.
        orig, resp: positions in `Plant.hosts`.
        user: position in `Plant.accounts`.
        detail: what the kind makes of it (name looked up, port probed, share ...).
        duration: µs; -1 = as the service usually lasts.
        fate: `DRAWN`, `SURE` or `DEAD`.
        hop: position of the attack hop it belongs to; -1 = ordinary life.
    """

    ts: Ints
    kind: Ints
    orig: Ints
    resp: Ints
    user: Ints
    detail: Ints
    duration: Ints
    fate: Ints
    hop: Ints

    def __len__(self) -> int:
        return len(self.ts)

    def take(self, rows: Ints | Mask) -> "ActTable":
        """Some of the rows."""
        return ActTable(*(getattr(self, column.name)[rows] for column in fields(self)))


Column = Ints | int
_USUAL: Final = (("duration", -1), ("fate", DRAWN), ("hop", -1))


@dataclass(slots=True)
class Acts:
    """A day's intents as the parts of the plant add them."""

    _parts: list[tuple[Ints, ...]] = field(default_factory=list)

    @classmethod
    def of(cls, table: ActTable) -> "Acts":
        """A day that begins with the rows of a table."""
        return cls([tuple(getattr(table, column.name) for column in fields(table))])

    def add(
        self,
        kind: Kind | Ints,
        ts: Column,
        orig: Column,
        resp: Column,
        user: Column = 0,
        detail: Column = 0,
        **rest: Column,
    ) -> None:
        """Adds rows; single numbers stand for all of them. ``rest`` may give duration, fate and hop."""
        columns = (ts, kind, orig, resp, user, detail, *(rest.get(name, usual) for name, usual in _USUAL))
        width = max(np.size(column) for column in columns)
        if any(np.size(column) == 0 for column in columns):
            return
        self._parts.append(tuple(np.broadcast_to(np.asarray(column, dtype=np.int64), (width,)) for column in columns))

    def table(self) -> ActTable:
        """All rows so far, by start; equal starts stay in the order they were added."""
        if not self._parts:
            return ActTable(*(np.empty(0, dtype=np.int64) for _ in range(9)))
        table = ActTable(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))
        return table.take(np.argsort(table.ts, kind="stable"))

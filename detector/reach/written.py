"""Reach as files: JSON lines for programs, CSV for people."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from detector.reach.model import HostReach
from detector.renderings.strings import spreadsheet
from detector.renderings.tables import csv_text

COLUMNS: Final = (
    "host", "zone", "purdue_level", "kind", "used_ot", "used_controllers", "after_ot", "after_controllers"
)  # fmt: skip
BY_HOP: Final = ("used", "allowed", "after", "allowed_after")
"""Columns of which there is one for each number of hops, as in ``used_2``."""


def as_dict(one: HostReach) -> dict[str, Any]:
    """Plain types."""
    place = one.place
    return {
        "host": place.host,
        "zone": place.zone,
        "purdue_level": place.level,
        "kind": place.kind,
        "used": one.used._asdict(),
        "allowed": one.allowed,
        "after": None if one.after is None else one.after._asdict(),
        "allowed_after": one.allowed_after,
    }


def as_lines(hosts: Sequence[HostReach]) -> bytes:
    """One JSON object a line."""
    return b"".join(orjson.dumps(as_dict(one)) + b"\n" for one in hosts)


def as_csv(hosts: Sequence[HostReach], hops: int) -> str:
    """A table with `COLUMNS`, and `BY_HOP` for each number of hops (RFC 4180); empty = not covered, or no proposal."""
    columns = [*COLUMNS, *(f"{name}_{hop}" for name in BY_HOP for hop in range(1, hops + 1))]
    rows: list[list[object]] = []
    for one in hosts:
        place, after = one.place, one.after
        of = (one.used.ot, one.used.controllers, *((None, None) if after is None else (after.ot, after.controllers)))
        counts = (one.used.hops, one.allowed, None if after is None else after.hops, one.allowed_after)
        cells = [spreadsheet(place.host), spreadsheet(place.zone), place.level, place.kind, *of]
        rows.append([*cells, *(count for by_hop in counts for count in by_hop or [None] * hops)])
    return csv_text(columns, rows)

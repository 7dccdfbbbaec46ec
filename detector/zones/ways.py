"""Which ways were gone between groups of hosts, how often and when: what a proposal of conduits is made of."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from detector.assets import services
from detector.assets.hosts import OUTSIDE, Hosts
from detector.assets.plant import consequence
from detector.features.acts import ATTEMPT_KIND, OPERATION_KIND
from detector.features.units import flow_units, operation_units
from detector.profiles.tables import Sums
from detector.rows import Rows

BIN_US: Final = 3_600_000_000  # an hour
_MOST: Final = 1_000_000  # ways of two hosts on a day, ways in hours; some 150 bytes each
DAY: Final = 24  # hours
_DYNAMIC: Final = 49_152  # ports from here on are nobody's (RFC 6335)
_KEY: Final = ("from_zone", "to_zone", "service", "operation")


@dataclass(slots=True)
class Gone:
    """A way: hour -> rows; two hosts that went it -> day -> when they first did (µs). Both count from 1970."""

    hours: dict[int, int] = field(default_factory=dict)
    pairs: dict[tuple[str, str], dict[int, int]] = field(default_factory=lambda: defaultdict(dict))

    def first(self, pair: tuple[str, str]) -> int:
        """When two hosts first went it (µs)."""
        return min(self.pairs[pair].values())


Key = tuple[str, str, str, str]
"""From, to, service as conduits name it, class of consequence on plant equipment (else empty)."""


class Ways:
    """Sums up answered conversations and acts.

    Args:
        zones: group of each host.
        hosts: says which of all others are outside.
    """

    def __init__(self, zones: Mapping[str, str], hosts: Hosts) -> None:
        self._zones, self._hosts = zones, hosts
        self._hours = Sums((*_KEY, "hour"), {"count": pl.Int64()}, _MOST)
        self._pairs = Sums((*_KEY, "orig_h", "resp_h", "day"), {"count": pl.Int64()}, _MOST)

    def add(self, flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        """Take oriented flows and operations, see `history.Take`."""
        for units in (flow_units(Rows.of(flows)), operation_units(Rows.of(operations))):
            if units.height:
                self._take(units)

    def gone(self) -> dict[Key, Gone]:
        """All ways between different groups, or to and from outside."""
        found: dict[Key, Gone] = defaultdict(Gone)
        for *key, hour, count, _, _ in self._hours.frame().iter_rows():
            found[key[0], key[1], key[2], key[3]].hours[int(hour)] = count
        for *key, orig, resp, day, _, first, _ in self._pairs.frame().iter_rows():
            found[key[0], key[1], key[2], key[3]].pairs[orig, resp][int(day)] = first
        return dict(found)

    def _take(self, units: Rows) -> None:
        names = ("orig_h", "resp_h", "service", "operation", "kind", "proto", "resp_p", "ts", "obs_ts")
        rows = units.frame(names).filter(pl.col("kind") != ATTEMPT_KIND)
        rows = rows.with_columns(from_zone=self._ends(rows["orig_h"]), to_zone=self._ends(rows["resp_h"]))
        rows = rows.filter(
            (pl.col("from_zone") != pl.col("to_zone")) & (pl.col("from_zone") != "") & (pl.col("to_zone") != "")
        )
        kinds = rows.select("service", "operation", "kind", "proto", "resp_p").unique(maintain_order=True)
        named = [_named(*row) for row in kinds.iter_rows()]
        told = kinds.with_columns(
            as_service=pl.Series([name for name, _ in named], dtype=pl.String),
            act=pl.Series([act for _, act in named], dtype=pl.String),
        )
        rows = rows.join(
            told, on=["service", "operation", "kind", "proto", "resp_p"], nulls_equal=True, maintain_order="left"
        )
        rows = rows.select(
            "from_zone", "to_zone", "orig_h", "resp_h", service="as_service", operation="act",
            hour=(pl.col("ts") // BIN_US).cast(pl.String), day=(pl.col("ts") // (BIN_US * DAY)).cast(pl.String),
            count=pl.lit(1, pl.Int64), first="ts", last="obs_ts",
        )  # fmt: skip
        self._hours.add(rows)
        self._pairs.add(rows)

    def _ends(self, addresses: pl.Series) -> pl.Series:
        """Group of each, `OUTSIDE`, or empty for broadcast and what is in no group."""
        known = {address: self._end(address) for address in addresses.unique().to_list()}
        return addresses.replace_strict(known, return_dtype=pl.String) if known else addresses

    def _end(self, address: str) -> str:
        host = self._hosts[address]
        return "" if host.group else self._zones.get(address, "" if host.inside else OUTSIDE)


def _named(service: str, operation: str | None, kind: int, proto: str | None, port: int | None) -> tuple[str, str]:
    """The service as a conduit names it, and the class of an act on plant equipment."""
    act = consequence(service, operation) if operation is not None else None
    if kind == OPERATION_KIND:
        service, proto = service if port is None else services.carrier(port), proto or "tcp"
    if service in ("tcp/high", "udp/high") and port is not None:
        first = service.partition("/")[0]
        service = f"{first}/{_DYNAMIC}-65535" if port >= _DYNAMIC else f"{first}/{port}"
    return service, act or ""


def hours_in(gone: Gone, begin: int, end: int) -> list[int]:
    """The hours from ``begin`` until before ``end`` in which a way was gone."""
    return [hour for hour in sorted(gone.hours) if begin <= hour < end]


def span(ways: Mapping[Key, Gone]) -> tuple[int, int]:
    """First hour, and the one after the last."""
    hours = np.array([hour for gone in ways.values() for hour in gone.hours], dtype=np.int64)
    return (int(hours.min()), int(hours.max()) + 1) if hours.size else (0, 1)

"""From files to tables: every row ordered, oriented and told from its twin as for scoring, then summed up."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from detector import rows as by_column
from detector.assets.hosts import OUTSIDE, Hosts
from detector.config import Settings
from detector.features.acts import FLOW_KIND
from detector.features.units import flow_units, operation_units
from detector.formats.address import canonical
from detector.formats.batch import Batch
from detector.formats.sightings import SIGHTS, sightings
from detector.history import History, Told
from detector.profiles.tables import SIGHTING, Sightings, Sums
from detector.reading import Progress
from detector.sources.files import Files

GROUP: Final = "group"
"""Whom broadcast and multicast go to."""
MAX_EDGES: Final = 1_000_000  # pairs of hosts and their services, some 150 bytes each
MAX_ATTEMPTS: Final = 250_000  # the same, never answered: whoever scans fills this table and no other
MAX_ACTS: Final = 500_000
MAX_STATEMENTS: Final = 200_000  # pairs of host and kind, up to 16 statements each
_SIGHTINGS_AT_ONCE: Final = 50_000
_EDGE_SUMS: Final = {name: pl.Int64() for name in ("count", "orig_bytes", "resp_bytes", "busy_ms")}
_EDGE: Final = ("orig_h", "resp_h", "service")


@dataclass(frozen=True, slots=True)
class Collected:
    """All that is known of a network before anything is concluded from it.

    ``edges`` and ``attempts``: ``orig_h``, ``resp_h``, ``service``, ``count``, ``orig_bytes``, ``resp_bytes``,
    ``busy_ms``, ``first``, ``last`` (µs), answered and not. ``acts``: ``orig_h``, ``resp_h``, ``protocol``,
    ``operation``, ``count``, ``first``, ``last``. An end outside is `OUTSIDE`, a group `GROUP`. ``sightings``: as
    `tables.Sightings.frame` tells. ``kept``: which share of each table's keys is in it.
    """

    edges: pl.DataFrame
    attempts: pl.DataFrame
    acts: pl.DataFrame
    sightings: pl.DataFrame
    kept: dict[str, float]
    rows: Told
    files: Files


class Collector:
    """Sums rows and statements up.

    Args:
        hosts: says which addresses are inside.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._edges = Sums(_EDGE, _EDGE_SUMS, MAX_EDGES)
        self._attempts = Sums(_EDGE, _EDGE_SUMS, MAX_ATTEMPTS)
        self._acts = Sums(("orig_h", "resp_h", "protocol", "operation"), {"count": pl.Int64()}, MAX_ACTS)
        self._sightings = Sightings(MAX_STATEMENTS)
        self._of_others = Sightings(MAX_STATEMENTS)  # of certificates and hardware addresses, see `formats.sightings`
        self._seen: list[tuple[int, str, str, str, str]] = []

    def observe(self, batch: Batch) -> None:
        """Take the statements of a log's records; part of reading."""
        self._seen += sightings(batch)
        if len(self._seen) > _SIGHTINGS_AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        seen = pl.DataFrame(self._seen, schema=SIGHTING, orient="row")
        self._seen = []
        seen = seen.filter(self._ends(seen["host"]) == seen["host"])  # neither outside nor a group
        others = seen["host"].is_in([host for host in seen["host"].unique().to_list() if canonical(host) is None])
        self._sightings.add(seen.filter(~others))
        self._of_others.add(seen.filter(others))

    def add(self, flows: pl.DataFrame, operations: pl.DataFrame) -> None:
        """Take oriented flows and operations."""
        edges = (
            flow_units(by_column.Rows.of(flows))
            .frame()
            .select(
                "kind",
                "service",
                orig_h=self._ends(flows["orig_h"]),
                resp_h=self._ends(flows["resp_h"]),
                count=pl.lit(1, pl.Int64),
                orig_bytes=pl.col("orig_bytes").fill_null(0),
                resp_bytes=pl.col("resp_bytes").fill_null(0),
                busy_ms=(pl.col("duration").fill_null(0) * 1000).round().cast(pl.Int64),
                first="ts",
                last="obs_ts",
            )
        )
        edges = edges.filter((pl.col("orig_h") != OUTSIDE) | (pl.col("resp_h") != OUTSIDE))
        self._edges.add(edges.filter(pl.col("kind") == FLOW_KIND))
        self._attempts.add(edges.filter(pl.col("kind") != FLOW_KIND))
        acts = (
            operation_units(by_column.Rows.of(operations))
            .frame()
            .select(
                "operation",
                orig_h=self._ends(operations["orig_h"]),
                resp_h=self._ends(operations["resp_h"]),
                protocol=operations["protocol"],
                count=pl.lit(1, pl.Int64),
                first="ts",
                last="obs_ts",
            )
        )
        self._acts.add(acts.filter((pl.col("orig_h") != OUTSIDE) | (pl.col("resp_h") != OUTSIDE)))

    def _ends(self, addresses: pl.Series) -> pl.Series:
        """The addresses, with what is no host of ours by a common name; asked once a distinct address."""
        distinct = addresses.unique()
        known = {address: self._end(address) for address in distinct.to_list()}
        return addresses.replace_strict(known, return_dtype=pl.String)

    def _end(self, address: str) -> str:
        try:
            host = self._hosts[address]
        except ValueError:  # a statement about a fingerprint or hardware address
            return address
        return GROUP if host.group else address if host.inside else OUTSIDE

    def collected(self, rows: Told, files: Files) -> Collected:
        """What came of it."""
        self._settle()
        tables = {"edges": self._edges, "attempts": self._attempts, "acts": self._acts}
        frames = {name: table.frame() for name, table in tables.items()}
        said = pl.concat([self._sightings.frame(), self._of_others.frame()])
        kept = {name: table.kept for name, table in tables.items()} | {"sightings": self._sightings.kept}
        return Collected(**frames, sightings=said, kept=kept, rows=rows, files=files)


def collect(
    paths: Sequence[str | Path],
    settings: Settings,
    hosts: Hosts,
    log_format: str,
    dead_letters: BinaryIO,
    progress: Progress,
) -> Collected:
    """Read all logs under the paths.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
    """
    collector = Collector(hosts)
    history = History(settings, log_format, dead_letters, progress, collector.observe, SIGHTS)
    files = history.read(paths, collector.add)
    return collector.collected(history.rows, files)

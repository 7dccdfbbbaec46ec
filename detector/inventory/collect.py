"""From files to tables: every row ordered, oriented and told from its twin as for scoring, then summed up."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from detector import rows as by_column
from detector.assets.hosts import OUTSIDE, Hosts
from detector.config import Settings
from detector.errors import UnreadableInput
from detector.features.acts import FLOW_KIND
from detector.features.units import flow_units, operation_units
from detector.formats.address import canonical
from detector.formats.batch import Batch
from detector.formats.sightings import SIGHTS, sightings
from detector.inventory.tables import SIGHTING, Sightings, Sums
from detector.normalize.direction import Direction
from detector.normalize.order import Order, Released
from detector.normalize.spool import Spool
from detector.normalize.twins import FLOW_IDENTITY, OPERATION_IDENTITY, Twins
from detector.reading import Progress, Reader, require_logs
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


@dataclass(slots=True)
class Rows:
    """Where every record went: in = conversations + acts + sighted + duplicate + rejected + filtered.

    ``conversations`` counts records: both halves of one that NetFlow tells in two. ``sighted`` records are of logs that
    tell of hosts only.
    """

    total: int = 0
    conversations: int = 0
    acts: int = 0
    sighted: int = 0
    duplicate: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    filtered: Counter[tuple[str, str]] = field(default_factory=Counter)


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
    rows: Rows
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
        self.rows = Rows()

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

    def collected(self, files: Files) -> Collected:
        """What came of it."""
        self._settle()
        tables = {"edges": self._edges, "attempts": self._attempts, "acts": self._acts}
        frames = {name: table.frame() for name, table in tables.items()}
        said = pl.concat([self._sightings.frame(), self._of_others.frame()])
        kept = {name: table.kept for name, table in tables.items()} | {"sightings": self._sightings.kept}
        return Collected(**frames, sightings=said, kept=kept, rows=self.rows, files=files)


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
    rows = collector.rows
    reader = Reader(settings, log_format, progress, dead_letters, collector.observe)
    files = reader.files(paths)
    scratch = Path(tempfile.mkdtemp(prefix="eastwest-"))
    try:
        spool = Spool(scratch)
        for decoded in reader.read(files):
            spool.add(decoded)
            rows.total += decoded.rows
            rows.rejected.update(reject.reason for reject in decoded.rejects)
            for (log, reason), count in decoded.filtered.items():
                if log in SIGHTS and reason.startswith("no model reads"):
                    rows.sighted += count
                else:
                    rows.filtered[log, reason] += count
        require_logs(files)
        if rows.total and rows.total == rows.rejected.total():
            reason, count = rows.rejected.most_common(1)[0]
            raise UnreadableInput(f"none of {rows.total} records could be read; {count}: {reason}; see rejected.ndjson")
        _sum_up(spool, collector, settings, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return collector.collected(files)


def _sum_up(spool: Spool, collector: Collector, settings: Settings, progress: Progress) -> None:
    """The rows of the spool in order of time: oriented, without what was told twice."""
    order, direction = Order(round(settings.reorder_seconds * 1e6)), Direction()
    twins = Twins(FLOW_IDENTITY, settings.max_seen), Twins(OPERATION_IDENTITY, settings.max_seen)
    done, total = 0, spool.rows

    def take(released: Released) -> None:
        oriented, told = direction.orient(released.flows), released.operations
        flows, operations = oriented.frame(), told.frame()
        weights = 1 + flows["paired"].cast(pl.Int64)
        twin = pl.Series(twins[0].mark(oriented), dtype=pl.Boolean), pl.Series(twins[1].mark(told), dtype=pl.Boolean)
        rows = collector.rows
        rows.duplicate += int(weights.filter(twin[0]).sum()) + int(twin[1].sum())
        rows.conversations += int(weights.filter(~twin[0]).sum())
        rows.acts += operations.height - int(twin[1].sum())
        collector.add(flows.filter(~twin[0]), operations.filter(~twin[1]))

    for batch in spool.batches(settings.batch_rows):
        for released in order.push([batch]):
            take(released)
        done += batch.rows
        progress("sum up", done, total, done)
    take(order.flush())

"""What happened on a network, out of its log files: every row ordered, oriented and told from its twin as for scoring.

What a command makes of it is its own affair: an inventory, zones, sessions of suppliers.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import polars as pl

import detector
from detector.config import Settings
from detector.errors import UnreadableInput
from detector.formats.decode import Observer
from detector.normalize.direction import Direction
from detector.normalize.order import Order, Released
from detector.normalize.spool import Spool
from detector.normalize.twins import FLOW_IDENTITY, OPERATION_IDENTITY, Twins
from detector.reading import Progress, Reader, require_logs
from detector.sources.files import Files

Take = Callable[[pl.DataFrame, pl.DataFrame], None]
"""Called with flows and operations, in order of observation; see `features.units` for what they become."""

_REASONS: Final = 100  # of rejected records that are listed


@dataclass(slots=True)
class Told:
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


def read_summary(rows: Told, files: Files) -> dict[str, Any]:
    """What was read and what became of it, for ``summary.json`` (JSON types)."""
    return {
        "version": detector.__version__,
        "input": {
            "files": len(files.files),
            "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in files.skipped],
        },
        "rows": {
            "in": rows.total,
            "conversations": rows.conversations,
            "acts": rows.acts,
            "sighted": rows.sighted,
            "duplicate": rows.duplicate,
            "rejected": rows.rejected.total(),
            "filtered": rows.filtered.total(),
        },
        "rejected_reasons": dict(sorted(rows.rejected.items(), key=lambda item: (-item[1], item[0]))[:_REASONS]),
        "filtered_reasons": {f"{log}: {reason}": count for (log, reason), count in sorted(rows.filtered.items())},
    }


class History:
    """Reads logs once through.

    Args:
        settings: time zone, column map, reorder time, records handled at once.
        log_format: a name of the format registry for all records, or ``auto``.
        dead_letters: gets a line for each record that could not be used.
        progress: called with the stages ``read`` and ``sum up``.
        observer: sees the records of each log before they are decoded.
        sights: logs that no model reads and the observer does; their records are not filtered but sighted.
    """

    def __init__(
        self,
        settings: Settings,
        log_format: str,
        dead_letters: BinaryIO,
        progress: Progress,
        observer: Observer | None = None,
        sights: Collection[str] = (),
    ) -> None:
        self._settings, self._progress, self._sights = settings, progress, sights
        self._reader = Reader(settings, log_format, progress, dead_letters, observer)
        self.rows = Told()

    def read(self, paths: Sequence[str | Path], take: Take) -> Files:
        """Hand over all that the logs under the paths tell.

        Raises:
            UnreadableInput: a path is missing, or no record could be read.
            ConfigError: unknown format.
        """
        files = self._reader.files(paths)
        scratch = Path(tempfile.mkdtemp(prefix="eastwest-"))
        try:
            spool = Spool(scratch)
            self._decode(files, spool)
            self._tell(spool, take)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return files

    def _decode(self, files: Files, spool: Spool) -> None:
        rows = self.rows
        for decoded in self._reader.read(files):
            spool.add(decoded)
            rows.total += decoded.rows
            rows.rejected.update(reject.reason for reject in decoded.rejects)
            for (log, reason), count in decoded.filtered.items():
                if log in self._sights and reason.startswith("no model reads"):
                    rows.sighted += count
                else:
                    rows.filtered[log, reason] += count
        require_logs(len(files.files), files.skipped)
        if rows.total and rows.total == rows.rejected.total():
            reason, count = rows.rejected.most_common(1)[0]
            raise UnreadableInput(f"none of {rows.total} records could be read; {count}: {reason}; see rejected.ndjson")

    def _tell(self, spool: Spool, take: Take) -> None:
        settings = self._settings
        order, direction = Order(round(settings.reorder_seconds * 1e6)), Direction()
        twins = Twins(FLOW_IDENTITY, settings.max_seen), Twins(OPERATION_IDENTITY, settings.max_seen)
        done = 0

        def hand(released: Released) -> None:
            oriented, told = direction.orient(released.flows), released.operations
            flows, operations = oriented.frame(), told.frame()
            twin = (
                pl.Series(twins[0].mark(oriented), dtype=pl.Boolean),
                pl.Series(twins[1].mark(told), dtype=pl.Boolean),
            )
            self._account(flows, operations, *twin)
            take(flows.filter(~twin[0]), operations.filter(~twin[1]))

        for batch in spool.batches(settings.batch_rows):
            for released in order.push([batch]):
                hand(released)
            done += batch.rows
            self._progress("sum up", done, spool.rows, done)
        hand(order.flush())

    def _account(
        self, flows: pl.DataFrame, operations: pl.DataFrame, flow_twins: pl.Series, operation_twins: pl.Series
    ) -> None:
        weights, rows = 1 + flows["paired"].cast(pl.Int64), self.rows
        rows.duplicate += int(weights.filter(flow_twins).sum()) + int(operation_twins.sum())
        rows.conversations += int(weights.filter(~flow_twins).sum())
        rows.acts += operations.height - int(operation_twins.sum())

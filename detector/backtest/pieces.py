"""A part of the input, decoded: sorted files of its rows, and what became of all other records.

Whoever decodes it, the files are the same. The description is written last, so that a piece that has one is whole, and
a backtest that was stopped need not decode it again.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from detector.backtest.parts import ALWAYS, Between, Part
from detector.config import Settings
from detector.errors import UnreadableInput
from detector.normalize.hours import Hours
from detector.normalize.merge import Run
from detector.normalize.spool import Spool
from detector.reading import Reader
from detector.records import Decoded
from detector.sources.files import SkippedFile
from detector.state.stores import write_whole

Tick = Callable[[int, int], None]
"""Called with bytes and rows of a part that are decoded so far."""
_COUNTS: Final = ("rejected", "filtered", "notes")
OUTSIDE: Final = "outside of the time that was asked for"


@dataclass(frozen=True, slots=True)
class Job:
    """How parts are decoded.

    Args:
        folder: where pieces go.
        settings: see `config.Settings`.
        log_format: a name of the format registry for all records, or ``auto``.
        between: rows that count.
    """

    folder: Path
    settings: Settings
    log_format: str = "auto"
    between: Between = ALWAYS


@dataclass(frozen=True, slots=True)
class Piece:
    """What a part became.

    Args:
        runs: sorted files of its rows.
        rejected: records that could not be used, by (source, reason).
        filtered: and those with nothing to score, by (log, reason).
        notes: values that were mended, by (log, what).
        skipped: files that are no logs.
        hours: when its rows were observed.
    """

    runs: list[Run]
    rejected: Counter[tuple[str, str]]
    filtered: Counter[tuple[str, str]]
    notes: Counter[tuple[str, str]]
    skipped: list[SkippedFile]
    hours: Hours


def path_of(folder: Path, part: Part, what: str) -> Path:
    """Of a part's files, the ``json`` that describes it, or the ``rejected`` records."""
    return folder / f"{part.number:06d}.{what}"


def decode(part: Part, job: Job, tick: Tick = lambda size, rows: None) -> Piece:
    """Decode a part, and write its piece.

    Args:
        tick: called with bytes and rows so far.

    Raises:
        UnreadableInput: an object store does not answer, or a row is older than the statistics of its row group say.
    """
    spool = Spool(job.folder, name=f"{part.number:06d}")
    piece = Piece([], Counter(), Counter(), Counter(), [], spool.hours)
    with path_of(job.folder, part, "rejected").open("wb") as rejects:
        reader = Reader(job.settings, job.log_format, lambda stage, done, total, rows: tick(done, rows), rejects)
        for decoded in _records(part, reader, piece, tick):
            piece.rejected.update((reject.source, reject.reason) for reject in decoded.rejects)
            piece.filtered.update(decoded.filtered)
            piece.notes.update(decoded.notes)
            spool.add(_within(decoded, job.between, piece.filtered))
        rejects.flush()
        os.fsync(rejects.fileno())
    piece.runs.extend(spool.runs())
    if part.lower is not None and any(run.first < part.lower for run in piece.runs):
        raise UnreadableInput(f"{part.files[0]}: a row is older than the statistics of the file say; write it anew")
    write_whole(path_of(job.folder, part, "json"), _written(piece))
    return piece


def _records(part: Part, reader: Reader, piece: Piece, tick: Tick) -> Iterator[Decoded]:
    """All records of the part; adds the files that are no logs to the piece."""
    if part.stretch is not None:
        file = part.files[0]
        assert isinstance(file, Path)  # noqa: S101 - objects are not cut
        yield from reader.lines(file, part.stretch)
        return
    if part.rows is None:
        files = reader.files(part.files)
        yield from reader.read(files)
        piece.skipped.extend(files.skipped)
        return
    rows = 0
    try:
        for decoded in reader.table(part.files[0], part.rows, part.place):
            yield decoded
            rows += decoded.rows
            tick(part.size * rows // max(part.rows[1] - part.rows[0], 1), rows)
    except UnreadableInput as problem:
        name = str(part.files[0])
        piece.skipped.append(SkippedFile(name, str(problem).removeprefix(f"{name}: ")))


def _within(decoded: Decoded, between: Between, filtered: Counter[tuple[str, str]]) -> Decoded:
    """The rows that count; the others are filtered."""
    if between == ALWAYS:
        return decoded
    lower = pl.lit(True) if between.first is None else pl.col("obs_ts") >= between.first
    inside = lower if between.stop is None else lower & (pl.col("obs_ts") < between.stop)
    kept = Decoded()
    for name, frame in (("flows", decoded.flows), ("operations", decoded.operations)):
        rows = frame.filter(inside)
        if rows.height < frame.height:
            out = frame.filter(~inside)["log"].value_counts()
            filtered.update({(log, OUTSIDE): count for log, count in out.iter_rows()})
        setattr(kept, name, rows)
    return kept


# --- on disk ---


def _written(piece: Piece) -> bytes:
    told = {
        "runs": [list(run) for run in piece.runs],
        **{name: _listed(getattr(piece, name)) for name in _COUNTS},
        "skipped": [[one.path, one.reason] for one in piece.skipped],
        "hours": list(piece.hours),
    }
    return orjson.dumps(told)


def _listed(counts: Counter[tuple[str, str]]) -> list[list[Any]]:
    return [[*key, count] for key, count in sorted(counts.items())]


def load(folder: Path, part: Part) -> Piece | None:
    """The piece of a part that was decoded before; None when it was not."""
    try:
        return piece_of(path_of(folder, part, "json").read_bytes())
    except FileNotFoundError:
        return None


def piece_of(content: bytes) -> Piece:
    """The piece that a description is of."""
    told = orjson.loads(content)
    counts = [Counter({(log, what): count for log, what, count in told[name]}) for name in _COUNTS]
    return Piece(
        [Run(*run) for run in told["runs"]],
        counts[0],
        counts[1],
        counts[2],
        [SkippedFile(*one) for one in told["skipped"]],
        Hours(tuple(hour) for hour in told["hours"]),
    )

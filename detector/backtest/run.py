"""`eastwest backtest`: read, sort, score, write. The files written are a contract; see docs/backtest.md."""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

import detector
from detector.alerts.decisions import End, Entry
from detector.alerts.model import Alert, Incident, Step, to_json
from detector.assets.plant import Plant
from detector.backtest import asked
from detector.backtest.findings import NAME, Findings
from detector.backtest.labels import Label, measure, parse_time
from detector.backtest.ordered import Ordered
from detector.backtest.parts import ALWAYS, Between, Plan, plan
from detector.backtest.pieces import OUTSIDE, Job, Piece, path_of
from detector.backtest.report import View, render
from detector.backtest.summary import Input, entities, open_ones, phases, summary_of
from detector.backtest.tally import MINUTE_US, Tally
from detector.backtest.timeline import Timeline
from detector.backtest.work import Work, working
from detector.backtest.workers import ALONE, Means, Start, workers
from detector.config import Settings
from detector.correlate.entities import RankedHost
from detector.engine import Engine
from detector.errors import UnreadableInput
from detector.formats import columns
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.normalize.merge import slices
from detector.reading import Progress, require_logs
from detector.records import Decoded
from detector.rows import Rows
from detector.score.zones import ZonePhases
from detector.state.bundle import Bundle
from detector.state.snapshot import fingerprint

_BINS: Final = 240  # of the report's time line
_MISDATED: Final = "dated apart from the rest of the history"
_HISTORY_GAP_US: Final = MINUTE_US  # between the end of a shifted history and the first record to judge


@dataclass(frozen=True, slots=True)
class Result:
    """What a backtest found; the files are written."""

    alerts: list[Alert]
    incidents: list[Incident]
    hosts: list[RankedHost]
    phases: list[ZonePhases]
    summary: dict[str, Any]
    out: Path


def backtest(
    paths: Sequence[str | Path],
    out: Path,
    settings: Settings,
    *,
    plant: Plant | None = None,
    labels: list[Label] | None = None,
    train_until: int | None = None,
    decisions: Sequence[Entry | End] = (),
    history: Sequence[str | Path] = (),
    model: Bundle | None = None,
    log_format: str = "auto",
    between: Between = ALWAYS,
    means: Means = ALONE,
    scoring: Callable[..., Engine] = Engine,
    progress: Progress = lambda stage, done, total, rows: None,
    notice: Callable[[str], None] = lambda told: None,
) -> Result:
    """Run the engine over files and write alerts, incidents, entities, findings, summary and report into ``out``.

    Args:
        paths: files, folders, or URLs of objects.
        out: folder, made if missing; files of an earlier run are replaced. Where an earlier run with the same files and
            settings was stopped, this one goes on.
        train_until: rows observed before this time (µs) only teach.
        decisions: what people decided.
        history: files, folders or URLs that teach first, whatever their time; see `_teach`.
        model: what another network taught, to begin with.
        log_format: a name of the format registry for all records, or ``auto``.
        between: rows of the paths that count.
        means: who does the work; no result depends on it.
        scoring: makes the engine, from what `Engine` takes; for who looks on.
        notice: called with what people should know about the run.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
        StateMismatch: the model does not fit the settings.
        StorageFailed: an object store does not answer. What was done is kept for the next run.
    """
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    context = Context(settings.timezone, settings.columns)
    Decoder("", context, format=log_format)  # a format that there is not is told before anything is read
    past, now = plan(history, context, ALWAYS).at_once(), plan(paths, context, between)
    if history:
        require_logs(len(past.files), (), "--history: ")
        now = now.at_once()
    engine = scoring(settings, plant, train_until, decisions, model)
    wish = asked.Asked(
        version=detector.__version__,
        paths=tuple(map(str, paths)),
        history=tuple(map(str, history)),
        log_format=log_format,
        train_until=train_until,
        first=between.first,
        stop=between.stop,
        plant=None if plant is None else plant.model_dump(mode="json", by_alias=True, exclude_unset=True),
        decisions=tuple(one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in decisions),
        model=None if model is None else asked.Model(name=model.manifest.name, sha256=model.sha256),
        settings=settings.model_dump(mode="json", exclude={"batch_rows"}),
        fingerprint=engine.fingerprint,
    )
    of_files = past.identity(), now.identity()
    with working(out, fingerprint(wish.model_dump(exclude={"paths", "history", "plant"}), *of_files)) as work:
        job = Job(work.folder / "now", settings, log_format, between)
        run = _Run(work, engine, job, means, progress, notice)
        try:
            found = run.through(past, now)
        finally:
            run.write_rejected([past, now], out / "rejected.ndjson")
        result = _written(engine, found, run.tally, out, plant, labels, began)
        wish.write(out)
        run.findings.finish(out / NAME)
    return result


def _written(
    engine: Engine,
    found: Input,
    tally: Tally,
    out: Path,
    plant: Plant | None,
    labels: list[Label] | None,
    began: float,
) -> Result:
    """What was found, in files."""
    alerts, incidents = engine.judge.final_alerts(), engine.judge.incidents()
    hosts = engine.judge.entities.ranked(tally.last or 0, open_ones(alerts), incidents, plant or Plant())
    zone_phases = engine.scorer.zones.phases(engine.scorer.phases, tally.last or 0)
    _write_lines(out / "alerts.ndjson", alerts)
    _write_lines(out / "incidents.ndjson", incidents)
    _write_lines(out / "entities.ndjson", hosts)
    summary = summary_of(engine, found, tally, alerts, incidents, time.monotonic() - began)
    summary |= {"entities": entities(engine, hosts), "phases": phases(zone_phases)}
    if labels is not None:
        summary["labels"] = measure(labels, open_ones(alerts), incidents, summary["time"]["judged_days"])
    (out / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    zones = _zones(plant, alerts, incidents)
    view = View(summary, alerts, incidents, _timeline(tally, open_ones(alerts)), zones, hosts, zone_phases)
    (out / "report.html").write_text(render(view), encoding="utf-8")
    return Result(alerts, incidents, hosts, zone_phases, summary, out)


def _write_lines(path: Path, records: Sequence[Alert | Incident | RankedHost]) -> None:
    path.write_bytes(b"".join(to_json(record) + b"\n" for record in records))


class _Run:
    """The rows of a history and of what is judged, through the engine.

    Args:
        job: how the paths are decoded; the history is, but for its folder and the time that counts.
    """

    def __init__(
        self, work: Work, engine: Engine, job: Job, means: Means, progress: Progress, notice: Callable[[str], None]
    ) -> None:
        self._work, self._engine, self._job = work, engine, job
        self._means, self._progress, self._notice = means, progress, notice
        self._past_job = replace(job, folder=work.folder / "past", between=ALWAYS)
        for folder in (self._past_job.folder, job.folder):
            folder.mkdir(exist_ok=True)
        self._saved = time.monotonic()
        self._done = 0  # rows that were handed to the engine
        self.tally = Tally()
        self.findings = Findings(work.folder, engine.push(Decoded()).frame())

    def through(self, past: Plan, now: Plan) -> Input:
        """Read, teach, score.

        Raises:
            UnreadableInput: no record could be read.
        """
        with workers(self._means) as start:
            rows = self._ordered(now, self._job, start)
            beside = self._work.load(self._engine)
            if beside is not None:
                self._go_on(rows, beside)
            else:
                passed = Counter({(columns.NAME, OUTSIDE): now.passed_rows})
                self._engine.count(Decoded(filtered=+passed))
                if past.files:
                    self._teach(self._ordered(past, self._past_job, start), rows)
            self._score(rows)
        if rows.hours.rows:
            self.tally.first, self.tally.last = rows.hours.span()
        return Input(now, rows.skipped())

    def write_rejected(self, plans: Sequence[Plan], path: Path) -> None:
        """Write the records that could not be used, in the order of the files."""
        with path.open("wb") as whole:
            for made, job in zip(plans, (self._past_job, self._job), strict=True):
                paths = (path_of(job.folder, part, "rejected") for part in made.parts)
                for some in (path for path in paths if path.exists()):  # a run that failed did not come to all
                    with some.open("rb") as lines:
                        shutil.copyfileobj(lines, whole)

    def _ordered(self, made: Plan, job: Job, start: Start) -> Ordered:
        return Ordered(made, job, start, self._means.ahead, self._count, self._progress)

    def _count(self, piece: Piece) -> None:
        self._engine.accounting.add(piece.rejected, piece.filtered, piece.notes)

    def _teach(self, past: Ordered, rows: Ordered) -> None:
        """The history teaches; when it does not end before the first record to judge, it is shifted so that it does.

        Misdated records (`Hours.span`) neither shift it nor teach.
        """
        past.all()
        require_logs(past.files, past.skipped(), "--history: ")
        rows.all()
        _require_records(self._engine, rows)
        first, last = past.hours.span()
        shift = min(0, rows.hours.span()[0] - _HISTORY_GAP_US - last) if rows.hours.rows else 0
        dated = pl.col("obs_ts").is_between(first, last)
        moved = [pl.col(name) + shift for name in ("ts", "obs_ts")]
        engine, done = self._engine, 0
        engine.teach = True
        for batch in past.merge.batches(engine.settings.batch_rows):
            flows, operations = batch.flows.filter(dated), batch.operations.filter(dated)
            misdated = batch.rows - flows.height - operations.height
            engine.push(Decoded(flows.with_columns(moved), operations.with_columns(moved)))
            engine.count(Decoded(filtered=Counter({("history", _MISDATED): misdated})))
            done += batch.rows
            self._progress("teach", done, past.rows, done)
        engine.finish()
        engine.teach = False

    def _score(self, rows: Ordered) -> None:
        """All rows through the engine; every scored unit to ``findings.parquet``.

        Raises:
            UnreadableInput: there was nothing.
        """
        for flows, operations in rows.merge.steps():
            for batch in slices(flows, operations, self._engine.settings.batch_rows):
                self._keep(self._engine.push(batch))
                self._done += batch.rows
                self._progress("score", self._done, max(rows.rows, self._done), self._done)
            if time.monotonic() - self._saved >= self._means.checkpoint_seconds:
                self._checkpoint(rows)
        _require_records(self._engine, rows)
        self._keep(self._engine.finish())

    def _keep(self, scored: Rows) -> None:
        self._engine.judge.told()  # a backtest tells everything at its end
        if scored.height:
            frame = scored.frame()
            self.tally.add(frame)
            self.findings.add(frame)

    def _checkpoint(self, rows: Ordered) -> None:
        """Everything up to here need not be done again."""
        self._keep(self._engine.settle())
        beside = {
            "merge": rows.merge.state(),
            "tally": self.tally.state(),
            "segments": self.findings.mark(),
            "done": self._done,
        }
        self._work.save(self._engine, beside)
        rows.merge.forget()
        self._saved = time.monotonic()

    def _go_on(self, rows: Ordered, beside: dict[str, Any]) -> None:
        self._done = beside["done"]
        self._notice(f"goes on behind {self._done:,} rows that were scored before")
        self.tally = Tally.of(beside["tally"])
        self.findings.segments = beside["segments"]
        rows.go_on(beside["merge"])


def _require_records(engine: Engine, rows: Ordered) -> None:
    """An empty log is a quiet one; a folder without logs, or logs of which no record can be read, is a mistake.

    Raises:
        UnreadableInput: says what was found instead.
    """
    require_logs(rows.files, rows.skipped())
    rejected = engine.accounting.rejected
    if rejected and engine.accounting.rows == rejected.total() and not rows.hours.rows:
        (source, reason), count = rejected.most_common(1)[0]
        raise UnreadableInput(
            f"none of {rejected.total()} records could be read; {count} of {source}: {reason}; see rejected.ndjson"
        )


def _timeline(tally: Tally, alerts: list[Alert]) -> Timeline:
    first, last = (tally.first or 0) // MINUTE_US, (tally.last or 0) // MINUTE_US
    width = max(1, -(-(last - first + 1) // _BINS))
    bins = (last - first) // width + 1

    def binned(minutes: dict[int, int]) -> list[int]:
        out = [0] * bins
        for minute, count in minutes.items():
            if first <= minute <= last:
                out[(minute - first) // width] += count
        return out

    alerted = Counter(parse_time(alert.ts) // MINUTE_US for alert in alerts)
    return Timeline(first * MINUTE_US, width * MINUTE_US, binned(tally.rows), binned(tally.findings), binned(alerted))


def _zones(plant: Plant | None, alerts: list[Alert], incidents: list[Incident]) -> dict[str, float | None]:
    """Declared zones with their level, then the ones that were only met."""
    zones: dict[str, float | None] = {zone.name: zone.purdue_level for zone in (plant or Plant()).zones}
    places: list[Alert | Step] = [*alerts, *(step for incident in incidents for step in incident.path)]
    for place in places:
        for zone in (place.src_zone, place.dst_zone):
            zones.setdefault(zone, None)
    return zones

"""`eastwest backtest`: read, sort, score, write. The files written are a contract; see docs/backtest.md."""

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl
import pyarrow.parquet as pq

import detector
from detector.alerts.decisions import End, Entry
from detector.alerts.model import SCORE_DIGITS, Alert, Incident, Step, iso, to_json
from detector.assets.plant import Plant
from detector.backtest.labels import Label, measure, parse_time
from detector.backtest.report import View, render
from detector.backtest.timeline import Timeline
from detector.config import MODELS, Settings
from detector.correlate.entities import IMPORTANT, RankedHost
from detector.engine import Engine
from detector.errors import UnreadableInput
from detector.features.units import KINDS
from detector.normalize.spool import Spool
from detector.reading import Progress, Reader, require_logs
from detector.records import Decoded
from detector.score.phases import PHASES
from detector.score.structure import COLUMNS
from detector.score.trust import answered
from detector.score.zones import ZonePhases
from detector.sources.files import Files
from detector.state.bundle import Bundle

MODEL_COLUMNS: Final = (*COLUMNS[:2], "p_structure")
_TOP_EDGES: Final = 20
_BINS: Final = 240  # of the report's time line
_MINUTE_US: Final = 60_000_000
_HISTORY_GAP_US: Final = _MINUTE_US  # between the end of a shifted history and the first record to judge


@dataclass(slots=True)
class Tally:
    """What is collected on the way for the summary and the report."""

    first: int | None = None  # observation times of the bulk of the rows (`Spool.span`), µs; None = no rows
    last: int | None = None
    rows: Counter[int] = field(default_factory=Counter)  # minute -> units
    findings: Counter[int] = field(default_factory=Counter)
    new_edges: int = 0
    top_edges: pl.DataFrame | None = None

    def add(self, scored: pl.DataFrame) -> None:
        """Count a scored batch."""
        if scored.is_empty():
            return
        minute = (pl.col("obs_ts") // _MINUTE_US).alias("minute")
        self.rows.update(dict(scored.group_by(minute).len().iter_rows()))
        strange = scored.filter("finding")
        self.findings.update(dict(strange.group_by(minute).len().iter_rows()))
        edges = scored.filter((pl.col("kind") == 0) & (pl.col("seen") <= 0) & ~pl.col("teach") & ~pl.col("resp_group"))
        self.new_edges += edges.height
        top = edges.select("ts", "orig_h", "resp_h", "service", "p_value", "fused", "orig_zone", "resp_zone")
        joined = top if self.top_edges is None else pl.concat([self.top_edges, top])
        self.top_edges = joined.sort(
            ["p_value", "fused", "ts", "orig_h", "resp_h"], descending=[False, True, False, False, False]
        )[:_TOP_EDGES]


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
    progress: Progress = lambda stage, done, total, rows: None,
) -> Result:
    """Run the engine over files and write alerts, incidents, entities, findings, summary and report into ``out``.

    Args:
        paths: files or folders.
        out: folder, made if missing; files of an earlier run are replaced.
        train_until: rows observed before this time (µs) only teach.
        decisions: what people decided.
        history: files or folders that teach first, whatever their time; see `_teach`.
        model: what another network taught, to begin with.
        log_format: a name of the format registry for all records, or ``auto``.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
        StateMismatch: the model does not fit the settings.
    """
    began = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    engine = Engine(settings, plant, train_until, decisions, model)
    tally = Tally()
    scratch = Path(tempfile.mkdtemp(prefix="eastwest-"))
    try:
        spool, past = Spool(scratch / "now"), Spool(scratch / "past")
        with (out / "rejected.ndjson").open("wb") as dead_letters:
            reader = Reader(settings, log_format, progress, dead_letters)
            if history:
                require_logs(_read(reader, history, past, engine), "--history: ")
            files = _read(reader, paths, spool, engine)
        _require_records(engine, spool, files)
        if spool.rows:
            tally.first, tally.last = spool.span()
        _teach(past, spool, engine, settings)
        _score(spool, engine, tally, out, settings, progress)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    alerts, incidents = engine.judge.final_alerts(), engine.judge.incidents()
    hosts = engine.judge.entities.ranked(tally.last or 0, _open(alerts), incidents, plant or Plant())
    phases = engine.scorer.zones.phases(engine.scorer.phases, tally.last or 0)
    _write_lines(out / "alerts.ndjson", alerts)
    _write_lines(out / "incidents.ndjson", incidents)
    _write_lines(out / "entities.ndjson", hosts)
    summary = _summary(engine, files, tally, alerts, incidents, time.monotonic() - began)
    summary |= {"entities": _entities(engine, hosts), "phases": _phases(phases)}
    if labels is not None:
        summary["labels"] = measure(labels, _open(alerts), incidents, summary["time"]["judged_days"])
    (out / "summary.json").write_bytes(orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    zones = _zones(plant, alerts, incidents)
    view = View(summary, alerts, incidents, _timeline(tally, _open(alerts)), zones, hosts, phases)
    (out / "report.html").write_text(render(view), encoding="utf-8")
    return Result(alerts, incidents, hosts, phases, summary, out)


def _open(alerts: list[Alert]) -> list[Alert]:
    """Alerts that nobody decided about."""
    return [alert for alert in alerts if alert.status == "open"]


def _read(reader: Reader, paths: Sequence[str | Path], spool: Spool, engine: Engine) -> Files:
    """All records of the paths into the spool; what is no row into the engine's accounting."""
    files = reader.files(paths)
    for decoded in reader.read(files):
        spool.add(decoded)
        engine.count(Decoded(rejects=decoded.rejects, filtered=decoded.filtered, notes=decoded.notes))
    return files


def _teach(past: Spool, spool: Spool, engine: Engine, settings: Settings) -> None:
    """The history teaches; when it does not end before the first record to judge, it is shifted so that it does.

    Misdated records (`Spool.span`) neither shift it nor teach.
    """
    if not past.rows:
        return
    first, last = past.span()
    begin = spool.span()[0]
    shift = min(0, begin - _HISTORY_GAP_US - last) if spool.rows else 0
    dated = pl.col("obs_ts").is_between(first, last)
    moved = [pl.col(name) + shift for name in ("ts", "obs_ts")]
    engine.teach = True
    for batch in past.batches(settings.batch_rows):
        flows, operations = batch.flows.filter(dated), batch.operations.filter(dated)
        misdated = batch.rows - flows.height - operations.height
        engine.push(Decoded(flows.with_columns(moved), operations.with_columns(moved)))
        engine.count(Decoded(filtered=Counter({("history", "dated apart from the rest of the history"): misdated})))
    engine.finish()
    engine.teach = False


def _require_records(engine: Engine, spool: Spool, files: Files) -> None:
    """An empty log is a quiet one; a folder without logs, or logs of which no record can be read, is a mistake.

    Raises:
        UnreadableInput: says what was found instead.
    """
    require_logs(files)
    rejected = engine.accounting.rejected
    if rejected and engine.accounting.rows == rejected.total() and not spool.rows:
        (source, reason), count = rejected.most_common(1)[0]
        raise UnreadableInput(
            f"none of {rejected.total()} records could be read; {count} of {source}: {reason}; see rejected.ndjson"
        )


def _score(spool: Spool, engine: Engine, tally: Tally, out: Path, settings: Settings, progress: Progress) -> None:
    """All rows of the spool through the engine; every scored unit to ``findings.parquet``."""
    done, total = 0, spool.rows
    writer: pq.ParquetWriter | None = None

    def keep(scored: pl.DataFrame) -> None:
        nonlocal writer
        tally.add(scored)
        table = _findings(scored).to_arrow()
        if writer is None:
            writer = pq.ParquetWriter(out / "findings.parquet", table.schema, compression="zstd")
        writer.write_table(table)

    try:
        keep(engine.push(Decoded()).frame())  # no rows, all columns: the file has its schema whatever comes
        for batch in spool.batches(settings.batch_rows):
            scored = engine.push(batch)
            done += batch.rows
            if scored.height:
                keep(scored.frame())
            progress("score", done, total, done)
        scored = engine.finish()
        if scored.height:
            keep(scored.frame())
    finally:
        if writer is not None:
            writer.close()


def _findings(scored: pl.DataFrame) -> pl.DataFrame:
    p = pl.col("p_value")
    return scored.select(
        ts=pl.col("ts").cast(pl.Datetime("us", "UTC")),
        src="orig_h",
        dst="resp_h",
        service="service",
        operation="operation",
        kind=pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String),
        score=(-p.log10()).round(SCORE_DIGITS).abs(),
        p_value=p,
        **{name: pl.col(name) for name in MODEL_COLUMNS},
        **{f"p_{name}": pl.col(f"p_{name}") if f"p_{name}" in scored.columns else pl.lit(1.0) for name in MODELS},
        new=pl.col("seen") <= 0,
        taught="teach",
        finding="finding",
        violation="violation",
        **answered(scored["trust"].to_numpy()).to_dict(),
        uid="uid",
        evidence=pl.format("{}:{}", "source", "position"),
    )


def _write_lines(path: Path, records: Sequence[Alert | Incident | RankedHost]) -> None:
    path.write_bytes(b"".join(to_json(record) + b"\n" for record in records))


def _summary(
    engine: Engine, files: Files, tally: Tally, alerts: list[Alert], incidents: list[Incident], seconds: float
) -> dict[str, Any]:
    account = engine.accounting
    first, last = tally.first or 0, tally.last or 0
    days = (last - first) / 86_400e6
    judged_from = max(first, engine.train_until or 0)
    judged_days = max((last - judged_from) / 86_400e6, 0.0)
    rejected = Counter[str]()
    for (_, reason), count in account.rejected.items():
        rejected[reason] += count
    return {
        "version": detector.__version__,
        "input": {
            "paths": [str(file) for file in files.files],
            "files": len(files.files),
            "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in files.skipped],
        },
        "rows": {
            "in": account.rows,
            "scored": account.scored,
            "rejected": account.rejected.total(),
            "duplicate": account.duplicate,
            "late": account.late,
            "filtered": account.filtered.total(),
        },
        "paired": account.paired,
        "taught": account.taught,
        "rejected_reasons": dict(rejected.most_common(100)),
        "filtered_reasons": {f"{log}: {reason}": count for (log, reason), count in sorted(account.filtered.items())},
        "notes": {f"{log}: {what}": count for (log, what), count in sorted(account.notes.items())},
        "time": {
            "first": None if tally.first is None else iso(tally.first),
            "last": None if tally.last is None else iso(tally.last),
            "days": round(days, 4),
            "judged_days": round(judged_days, 4),
        },
        "seconds": round(seconds, 2),
        "rows_per_second": round(account.rows / max(seconds, 1e-9)),
        "alerts": {
            "count": len(_open(alerts)),
            "per_day": round(len(_open(alerts)) / max(judged_days, 1.0), 2),
            "budget_per_day": engine.settings.alerts_per_day,
            "by_severity": dict(Counter(alert.severity for alert in _open(alerts))),
            "decided": len(alerts) - len(_open(alerts)),
        },
        "violations": {
            "alerts": sum(alert.kind == "violation" for alert in _open(alerts)),
            "withheld": engine.judge.violations.withheld,
        },
        "trust": _trust(engine),
        "decisions": _decisions(engine),
        "incidents": {"count": len(incidents)},
        "new_edges": {"count": tally.new_edges, "top": _top_edges(tally)},
        "state": _state(engine),
        "model": _model(engine),
        "settings": engine.settings.model_dump(),
    }


def _model(engine: Engine) -> dict[str, str] | None:
    """What the engine began with."""
    model = engine.model
    return None if model is None else {
        "name": model.manifest.name, "sha256": model.sha256, "signature": model.signature,
    }  # fmt: skip


def _trust(engine: Engine) -> dict[str, Any]:
    """Rows by verdict and by what failed, and the share that is verified of those that were judged."""
    trust = engine.scorer.trust
    return {"verdicts": trust.verdicts(), "share": trust.share(), "failed": trust.failures()}


def _decisions(engine: Engine) -> list[dict[str, Any]]:
    """How many findings each decision relabelled, in the order of the file."""
    decisions = engine.judge.decisions
    return [
        {"id": one.entry.id, "action": one.entry.action, "hits": decisions.hits.get(one.entry.id, 0)}
        for one in decisions.held
    ]


def _state(engine: Engine) -> dict[str, Any]:
    """How full the structure model's table is, what went at the bound of any (each table counts it in an array of its
    own), and how many rows may look new for that."""
    twins = {"flow_twins": engine.flow_twins.seen.evicted, "operation_twins": engine.operation_twins.seen.evicted}
    evicted = engine.scorer.evicted() | twins
    return {
        "entries": int(engine.scorer.structure.memory.counts.used[0]),
        "evicted": sum(evicted.values()),
        "evicted_from": [{"table": table, "count": count} for table, count in sorted(evicted.items()) if count],
        "truncated": int(engine.scorer.history.truncated[0]),
    }


def _entities(engine: Engine, hosts: list[RankedHost]) -> dict[str, int]:
    important = sum(host.importance >= IMPORTANT for host in hosts)
    return {"count": len(hosts), "important": important, "forgotten": engine.judge.entities.forgotten}


def _phases(zones: list[ZonePhases]) -> dict[str, Any]:
    """Hosts by phase, and the same zone by zone."""
    totals = {phase: sum(getattr(zone, phase) for zone in zones) for phase in (*PHASES, "idle")}
    return {**totals, "zones": [asdict(zone) for zone in zones]}


def _top_edges(tally: Tally) -> list[dict[str, Any]]:
    if tally.top_edges is None:
        return []
    frame = tally.top_edges.select(
        pl.col("ts").map_elements(iso, pl.String),
        src="orig_h",
        dst="resp_h",
        service="service",
        score=(-pl.col("p_value").log10()).round(SCORE_DIGITS).abs(),
        p_value="p_value",
        src_zone="orig_zone",
        dst_zone="resp_zone",
    )
    return frame.to_dicts()


def _timeline(tally: Tally, alerts: list[Alert]) -> Timeline:
    first, last = (tally.first or 0) // _MINUTE_US, (tally.last or 0) // _MINUTE_US
    width = max(1, -(-(last - first + 1) // _BINS))
    bins = (last - first) // width + 1

    def binned(minutes: dict[int, int]) -> list[int]:
        out = [0] * bins
        for minute, count in minutes.items():
            if first <= minute <= last:
                out[(minute - first) // width] += count
        return out

    alerted = Counter(parse_time(alert.ts) // _MINUTE_US for alert in alerts)
    return Timeline(first * _MINUTE_US, width * _MINUTE_US, binned(tally.rows), binned(tally.findings), binned(alerted))


def _zones(plant: Plant | None, alerts: list[Alert], incidents: list[Incident]) -> dict[str, float | None]:
    """Declared zones with their level, then the ones that were only met."""
    zones: dict[str, float | None] = {zone.name: zone.purdue_level for zone in (plant or Plant()).zones}
    places: list[Alert | Step] = [*alerts, *(step for incident in incidents for step in incident.path)]
    for place in places:
        for zone in (place.src_zone, place.dst_zone):
            zones.setdefault(zone, None)
    return zones

"""eastwest from Python: what a notebook needs, and nothing that the commands do not do.

::

    import detector

    logs = detector.load("logs")               # .flows and .operations, Polars frames
    scores = logs.scores(plant="plant.yaml")    # .findings, .alerts, .incidents, .hosts
    detector.plots.timeline(scores)

`load` reads as every command does (`history.History`), `scores` is a backtest (`backtest.run`): the same logs give the
same alerts as on the command line.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import polars as pl

from detector.alerts.decisions import load_decisions
from detector.alerts.model import Alert, Incident
from detector.assets.plant import load_plant
from detector.backtest.labels import load_labels, parse_time
from detector.backtest.run import backtest
from detector.config import Settings, load_settings
from detector.correlate.entities import RankedHost
from detector.history import History
from detector.records import FLOW, OPERATION
from detector.state.bundle import read_bundle

Paths = str | Path | Sequence[str | Path]
_TEXT, _TEXTS, _NUMBER, _TIME = pl.String(), pl.List(pl.String), pl.Float64(), pl.Datetime("us", "UTC")
_ALERT: Final[Mapping[str, pl.DataType]] = {
    "ts": _TIME, "severity": _TEXT, "src": _TEXT, "dst": _TEXT, "service": _TEXT, "operation": _TEXT, "user": _TEXT,
    "title": _TEXT, "score": _NUMBER, "p_value": _NUMBER, "count": pl.Int64(), "techniques": _TEXTS, "src_zone": _TEXT,
    "dst_zone": _TEXT, "status": _TEXT, "incident_id": _TEXT, "alert_id": _TEXT,
}  # fmt: skip
_HOP: Final[Mapping[str, pl.DataType]] = {
    "ts": _TIME, "src": _TEXT, "dst": _TEXT, "service": _TEXT, "operations": _TEXTS, "techniques": _TEXTS,
    "users": _TEXTS, "p_value": _NUMBER, "src_zone": _TEXT, "dst_zone": _TEXT,
}  # fmt: skip
_HOST: Final[Mapping[str, pl.DataType]] = {
    "host": _TEXT, "zone": _TEXT, "score": _NUMBER, "evidence": _NUMBER, "importance": pl.Int64(), "why": _TEXT,
    "findings": pl.Int64(), "alerts": pl.Int64(), "techniques": _TEXTS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Logs:
    """What log files hold, in order of observation, told once.

    Args:
        paths: where they lie.
        log_format: a name of the format registry for all records, or ``auto``.
        flows: one row a conversation, the columns of `records.FLOW`; times are Datetime in UTC.
        operations: one row an act of a protocol, the columns of `records.OPERATION`; times likewise.
        rejected: how many records could not be used, by reason.
    """

    paths: tuple[str | Path, ...]
    log_format: str
    flows: pl.DataFrame = field(repr=False)
    operations: pl.DataFrame = field(repr=False)
    rejected: dict[str, int]

    def scores(self, **wish: Any) -> "Scores":
        """`scores` of these logs; takes its arguments."""
        return scores(self.paths, log_format=self.log_format, **wish)


@dataclass(frozen=True, slots=True)
class Scores:
    """What a backtest found.

    Args:
        findings: every scored row with its p-values, as ``findings.parquet`` has them (docs/backtest.md).
        alerts: one row an alert; what people decided about has another ``status`` than ``open``.
        incidents: one row a hop: ``incident_id``, ``severity``, and what was done from where to where.
        hosts: one row a host with findings, the most important first.
        summary: accounting and measurement, as ``summary.json`` has them.
        told: the alerts and incidents themselves, by id, with reasons and next steps.
    """

    findings: pl.DataFrame = field(repr=False)
    alerts: pl.DataFrame = field(repr=False)
    incidents: pl.DataFrame = field(repr=False)
    hosts: pl.DataFrame = field(repr=False)
    summary: dict[str, Any] = field(repr=False)
    told: Mapping[str, Alert | Incident] = field(repr=False)


def load(paths: Paths, *, log_format: str = "auto", settings: Settings | None = None) -> Logs:
    """Read logs.

    Args:
        paths: files or folders; Zeek and NetFlow may be mixed.
        log_format: a name of the format registry for all records, or ``auto``.
        settings: time zone, column map; the defaults when there are none.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: unknown format.
    """
    history = History(settings or Settings(), log_format, BytesIO(), lambda *_: None)
    flows, operations = [pl.DataFrame(schema=FLOW)], [pl.DataFrame(schema=OPERATION)]

    def take(some_flows: pl.DataFrame, some_operations: pl.DataFrame) -> None:
        flows.append(some_flows.select(*FLOW))
        operations.append(some_operations.select(*OPERATION))

    history.read(_listed(paths), take)
    told = [pl.concat(parts).with_columns(_times("ts", "obs_ts")) for parts in (flows, operations)]
    return Logs(tuple(_listed(paths)), log_format, told[0], told[1], dict(history.rows.rejected))


def scores(  # noqa: PLR0913 - what the command takes
    paths: Paths,
    *,
    plant: str | Path | None = None,
    labels: str | Path | None = None,
    decisions: str | Path | None = None,
    train_until: str | None = None,
    history: Paths = (),
    model: str | Path | None = None,
    log_format: str = "auto",
    out: str | Path | None = None,
    **settings: Any,
) -> Scores:
    """Run a backtest.

    Args:
        paths: files or folders.
        plant, labels, decisions, model: files, as the options of ``eastwest backtest``.
        train_until: time before which rows only teach, ISO 8601.
        history: files or folders that teach first.
        out: folder for the files of the backtest; None = they are not kept.
        settings: such as ``alerts_per_day=10``; see docs/settings.md.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: a file or setting is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="eastwest-") as scratch:
        folder = Path(scratch) if out is None else Path(out)
        result = backtest(
            _listed(paths),
            folder,
            load_settings(None, settings),
            plant=None if plant is None else load_plant(Path(plant)),
            labels=None if labels is None else load_labels(Path(labels)),
            decisions=() if decisions is None else load_decisions(Path(decisions)),
            train_until=None if train_until is None else parse_time(train_until),
            history=_listed(history),
            model=None if model is None else read_bundle(Path(model)),
            log_format=log_format,
        )
        findings = pl.read_parquet(folder / "findings.parquet")
    told = {one.alert_id: one for one in result.alerts} | {one.incident_id: one for one in result.incidents}
    return Scores(
        findings, _frame(result.alerts, _ALERT), _hops(result.incidents), _frame(result.hosts, _HOST), result.summary,
        told,
    )  # fmt: skip


def _hops(incidents: Sequence[Incident]) -> pl.DataFrame:
    parts = [
        _frame(one.path, _HOP).select(pl.lit(one.incident_id).alias("incident_id"), pl.lit(one.severity)
                                      .alias("severity"), pl.all())
        for one in incidents
    ]  # fmt: skip
    empty = _frame([], {"incident_id": _TEXT, "severity": _TEXT, **_HOP})
    return pl.concat([empty, *parts])


def _frame(records: Sequence[Alert | RankedHost | Any], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """A column for each name of the schema; times are ISO 8601 in the records."""
    plain = {name: _TEXT if kind == _TIME else kind for name, kind in schema.items()}
    rows = [{name: _plain(getattr(record, name)) for name in schema} for record in records]
    times = [name for name, kind in schema.items() if kind == _TIME]
    return pl.DataFrame(rows, schema=plain).with_columns(pl.col(times).str.to_datetime(time_unit="us", time_zone="UTC"))


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _times(*names: str) -> pl.Expr:
    return pl.from_epoch(pl.col(*names), time_unit="us").dt.replace_time_zone("UTC")


def _listed(paths: Paths) -> list[str | Path]:
    return [paths] if isinstance(paths, str | Path) else list(paths)

"""From an id to its explanation: the files of the result say which rows it is made of, a replay says the rest."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from detector.alerts.decisions import DecisionsFile
from detector.alerts.model import SEVERITIES, Alert, Incident, alert_of, as_dict, incident_of
from detector.assets.plant import Plant
from detector.backtest import findings
from detector.backtest.asked import Asked, read_asked
from detector.backtest.parts import Between
from detector.backtest.run import backtest
from detector.config import Settings
from detector.correlate.chains import HOP_WINDOW_US
from detector.errors import ConfigError, StateMismatch
from detector.explain.arithmetic import severity_of
from detector.explain.chain import chain
from detector.explain.watched import Seen, Watched
from detector.reading import Progress
from detector.state.bundle import Bundle

Plain = dict[str, Any]
FORMAT: Final = 1
_WINDOW: Final = timedelta(microseconds=2 * HOP_WINDOW_US)
"""A case lasts an hour around its first finding, and its alert may be any of them."""
_MOST_ROWS: Final = 20_000  # findings between two hosts in two hours that are looked at: a flood of more says the same


def explain(
    folder: Path,
    wanted: str,
    logs: Sequence[str] = (),
    model: Bundle | None = None,
    progress: Progress = lambda stage, done, total, rows: None,
) -> Plain:
    """Every number that led to an alert or incident of a backtest.

    Args:
        folder: that the backtest wrote.
        wanted: id of an alert or an incident, or the beginning of one.
        logs: where the logs lie, if no more where they were.
        model: that the backtest began with, if it did.
        progress: told how far the replay is.

    Returns:
        JSON types: ``kind``, ``alert`` with ``findings``, or ``incident`` with ``chain`` and ``hops``; see
        docs/tuning.md. `explain.arithmetic` makes the score from them.

    Raises:
        ConfigError: no such id, no such folder, or the replay needs what was not given.
        StateMismatch: the replay tells something else: other logs, or another version.
        UnreadableInput: the logs are not there.
    """
    wish = read_asked(folder)
    record = _record(folder, wanted)
    replay = _Replay(folder, wish, logs, model, progress)
    if isinstance(record, Alert):
        return {"format": FORMAT, "kind": "alert", "run": _run(wish), **_alert(record, replay)}
    return {"format": FORMAT, "kind": "incident", "run": _run(wish), **_incident(record, replay)}


def _run(wish: Asked) -> Plain:
    return {"version": wish.version, "paths": list(wish.paths), "settings": wish.settings}


def _alert(record: Alert, replay: "_Replay") -> Plain:
    watched = replay.run(_places(replay.folder, record), record.alert_id)
    case = watched.case
    told = [case.told[one.alert_id, one.p_value] for one in case.findings if (one.alert_id, one.p_value) in case.told]
    if not told or len(told) != len(case.findings):
        raise StateMismatch(_other("the findings of the alert did not come again"))
    order = sorted(range(len(told)), key=lambda place: told[place]["p_value"])  # the first of equals is the strongest
    return {
        "alert": as_dict(record),
        "findings": [told[place] for place in order],
        "repeats_severity": _repeats(record, told),
    }


def _repeats(record: Alert, told: Sequence[Plain]) -> str | None:
    """The severity that a repeat within the day raised the alert to; None when its own findings had it."""
    raised = record.incident_id is not None
    own = min(max(map(severity_of, told)) + raised, len(SEVERITIES) - 1)
    final = SEVERITIES.index(record.severity)
    return SEVERITIES[final - raised] if final > own else None


def _incident(record: Incident, replay: "_Replay") -> Plain:
    chains = replay.run([], None).judge.chains
    name = next((name for name, known in chains.ids.items() if known == record.incident_id), None)
    if name is None:
        raise StateMismatch(_other("the incident did not come again"))
    hops = [chains.hops[number] for number in chains.incidents[name]]
    last = min(hops, key=lambda hop: (hop.chance, hop.ts, hop.number))
    inside = {hop.number for hop in chains.path(last)}
    return {
        "incident": as_dict(record),
        "chain": chain(chains, last),
        "hops": [
            {
                "ts": step.ts,
                "src": step.src,
                "dst": step.dst,
                "per_day": hop.per_day,
                "in_chain": hop.number in inside,
                "sure": hop.sure,
                "findings": [{"alert_id": one.alert_id, "p_value": one.p_value, "title": one.title}
                             for one in hop.findings],
            }
            for step, hop in zip(record.path, sorted(hops, key=lambda hop: (hop.ts, hop.number)), strict=True)
        ],
    }  # fmt: skip


class _Replay:
    """Runs the backtest again, as it was asked for."""

    def __init__(
        self, folder: Path, wish: Asked, logs: Sequence[str], model: Bundle | None, progress: Progress
    ) -> None:
        self.folder, self._wish, self._progress = folder, wish, progress
        self._logs, self._model = list(logs) or list(wish.paths), _checked(wish, model)

    def run(self, places: Sequence[tuple[int, float]], alert_id: str | None) -> Watched:
        """The engine behind the last of the rows, each of which must get the p-value it had."""
        wish, made = self._wish, list[Watched]()

        def scoring(*what: Any) -> Watched:
            made.append(Watched(*what, places=[place for place, _ in places], alert_id=alert_id))
            if made[0].fingerprint != wish.fingerprint:
                raise StateMismatch(
                    f"the result was made by eastwest {wish.version}, which reads settings and plant file otherwise; "
                    "run the backtest again"
                )
            return made[0]

        with tempfile.TemporaryDirectory(prefix="eastwest-explain-") as scratch, suppress(Seen):
            backtest(
                self._logs,
                Path(scratch),
                Settings.model_validate(wish.settings),
                plant=None if wish.plant is None else Plant.model_validate(wish.plant),
                train_until=wish.train_until,
                decisions=DecisionsFile.model_validate({"decisions": wish.decisions}).decisions,
                history=wish.history,
                model=self._model,
                log_format=wish.log_format,
                between=Between(wish.first, wish.stop),
                scoring=scoring,
                progress=self._progress,
            )
        if made[0].p_values != [p for _, p in places]:
            raise StateMismatch(_other("a row of it has another p-value"))
        return made[0]


def _other(what: str) -> str:
    return f"the replay tells something else: {what}. Are these the logs, and this version, of the result?"


def _checked(wish: Asked, model: Bundle | None) -> Bundle | None:
    wanted = wish.model
    if wanted is None:
        return None
    if model is None or model.sha256 != wanted.sha256:
        problem = "name it" if model is None else f"this one is {model.sha256[:16]}"
        raise ConfigError("--model", "", f"the result began with {wanted.name}, {wanted.sha256[:16]}: {problem}")
    return model


def _places(folder: Path, record: Alert) -> list[tuple[int, float]]:
    """Rows of the findings that may be part of an alert, and their p-values, in the order in which they were scored."""
    path = folder / findings.NAME
    at = datetime.fromisoformat(record.ts).astimezone(UTC)
    violation = record.kind == "violation"
    near = pl.col("ts") == at if violation else pl.col("ts").is_between(at - _WINDOW, at + _WINDOW)
    pair = (pl.col("src") == record.src) & (pl.col("dst") == record.dst)
    try:
        rows = (
            pl.scan_parquet(path)
            .select("ts", "src", "dst", "p_value", strange="violation" if violation else "finding")
            .with_row_index("place")
            .filter(pair & near & pl.col("strange"))
            .select("place", "p_value")
            .collect()
        )
    except (OSError, pl.exceptions.PolarsError) as problem:
        raise ConfigError(str(path), "", f"cannot be read: {problem}; run the backtest again") from problem
    if not rows.height:
        raise ConfigError(
            str(path), "", "has no row of this alert: files of two runs are mixed; run the backtest again"
        )
    if rows.height > _MOST_ROWS:
        raise ConfigError(str(path), "", f"has {rows.height:,} findings of these two hosts in two hours; "
                                         f"at most {_MOST_ROWS:,} are looked at")  # fmt: skip
    return rows.rows()


def _record(folder: Path, wanted: str) -> Alert | Incident:
    """The alert or incident with an id that begins so."""
    found: list[Alert | Incident] = []
    for name, key, made in (
        ("alerts.ndjson", "alert_id", alert_of), ("incidents.ndjson", "incident_id", incident_of)
    ):  # fmt: skip
        found += [made(line) for line in _lines(folder / name) if wanted and line[key].startswith(wanted)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            str(folder), "", f"no alert and no incident has the id {wanted!r}; ids are in alerts.ndjson and "
            "incidents.ndjson, and on the cards of report.html"
        )  # fmt: skip
    raise ConfigError(str(folder), "", f"{len(found)} ids begin with {wanted!r}; give more of it")


def _lines(path: Path) -> list[Plain]:
    try:
        return [orjson.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as problem:
        raise ConfigError(str(path), "", f"cannot be read: {problem}; run the backtest again") from problem

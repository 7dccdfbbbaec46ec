"""An engine that is stopped at some rows and looked at: what it knew then, and what it made of each."""

import math
from collections import deque
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

from detector.alerts.explain import VIOLATION_P
from detector.alerts.model import CONSEQUENCE_LEVELS, IMPORTANCES, STRANGE, Alert, iso
from detector.engine import Engine
from detector.explain.chain import chain
from detector.explain.notes import Notes, Plain
from detector.features.units import KINDS
from detector.judge import FIRST_ACTS_PER_DAY, KNOWN_DAYS, YOUNG_DAYS
from detector.rows import Rows
from detector.score.columns import Columns

_RECORD: Final = (
    "log", "source", "position", "uid", "orig_h", "orig_p", "resp_h", "resp_p", "service", "operation", "object",
    "user", "orig_zone", "resp_zone", "history", "hosts",
)  # fmt: skip
"""What is told of the record itself, and of the network at that time: days of history, hosts inside."""
_INSTANT: Final = 1e-11  # days, as in `judge`


class Seen(Exception):
    """All that was to be looked at was; the rest of the logs need not be read."""


@dataclass(slots=True)
class Case:
    """What became of the alert that is explained: its findings in order of arrival, and the numbers of each, by its id
    and p-value."""

    findings: list[Alert] = field(default_factory=list)
    told: dict[tuple[str, float], Plain] = field(default_factory=dict)


class Watched(Engine):
    """Scores as `Engine` does, and looks at rows.

    Args:
        asked: what `Engine` takes.
        places: of the rows to look at, among those that are scored (rows of ``findings.parquet``), ascending.
        alert_id: of the alert they may belong to; behind the last of them `Seen` is raised. None = go on to the end.

    Attributes:
        case: of the alert, as far as it was seen.
        p_values: of the rows that were looked at.
    """

    def __init__(self, *asked: Any, places: Sequence[int], alert_id: str | None) -> None:
        self._places, self._alert_id, self._done = deque(places), alert_id, 0
        self._looks: dict[str, dict[tuple[str, float], Plain]] = {}  # by the decision about it
        self.case = Case()
        self.p_values: list[float] = []
        super().__init__(*asked)

    def _judged(self, units: Rows) -> Rows:
        if self.teach or not units.height:
            return super()._judged(units)
        parts, start, stop = [], 0, self._done + units.height
        while self._places and self._places[0] < stop:
            place = self._places.popleft() - self._done
            if place > start:
                parts.append(super()._judged(units.at(slice(start, place))))
            parts.append(self._looked(units.at(slice(place, place + 1))))
            start = place + 1
        if self._alert_id is not None and not self._places:
            raise Seen
        if start < units.height:
            parts.append(super()._judged(units.at(slice(start, units.height))))
        self._done = stop
        return Rows.concat(parts)

    def _looked(self, unit: Rows) -> Rows:
        """One row, scored and judged under watch."""
        notes, noted = Notes(self.scorer), list[Alert]()
        notes.begin()
        scored = self.scorer.score(unit)
        notes.end()
        told = Columns(scored)
        self.judge.watch = lambda found, row, expected: noted.append(self._note(notes, told, found, row, expected))
        judged = self.judge.judge(scored)
        self.judge.watch = lambda found, row, expected: None
        self.p_values.append(float(judged.array("p_value")[0]))
        for found in noted:
            self._keep(found)
        return judged

    def _note(self, notes: Notes, scored: Columns, found: Alert, row: Plain, expected: float) -> Alert:
        told = {
            **_record(found, row, notes),
            "models": notes.models(row, scored),
            "merged": _merged(notes, row),
            "finding": self._finding(found, row, expected),
            "severity": _severity(found, row),
            "p_value": found.p_value,
            "score": found.score,
        }
        if found.kind != "violation":
            self._looks.setdefault(_decided(found), {})[found.alert_id, found.p_value] = told
        elif found.alert_id == self._alert_id:
            self.case = Case([found], {(found.alert_id, found.p_value): told})
        return found

    def _keep(self, found: Alert) -> None:
        """What the case of a finding still holds is all that its alert can take its numbers from."""
        case = self.judge.case_of(found)
        if case is None or found.kind == "violation":
            return
        held = {(one.alert_id, one.p_value) for one in case.findings}
        looks = self._looks[_decided(found)]
        self._looks[_decided(found)] = looks = {key: told for key, told in looks.items() if key in held}
        if case.alert is not None and self.judge.alerts[case.alert][0].alert_id == self._alert_id:
            self.case = Case([*case.findings], looks)

    def _finding(self, found: Alert, row: Plain, expected: float) -> Plain:
        """From a p-value to how many such a day are expected, and what is let through at that time."""
        rate, first = row["rows_per_day"], row.get("first_act", False) and row["history"] >= KNOWN_DAYS
        per_day = row["p_value"] * rate
        most = FIRST_ACTS_PER_DAY if first else math.inf
        kept = self.judge.budget_decided if found.decision is not None else self.judge.budget
        budget = copy(self.judge.budget_violations if found.kind == "violation" and found.decision is None else kept)
        budget.advance(row["obs_ts"])
        return {
            "rows_per_day": rate,
            "per_day": per_day,
            "most_per_day": budget.findings_per_day(rate),
            "first_act": bool(first),
            "at_most": most if per_day > most else None,
            "hops_per_day": budget.hops_per_day(rate),
            "chain": self._chain(found, row, min(per_day, most) <= budget.hops_per_day(rate)),
            "expected": expected,
            "budget": {
                "alerts_per_day": budget.alerts_per_day,
                "correction": budget.correction,
                "threshold": budget.wanted(rate),
                "left": budget.tokens,
            },
        }

    def _chain(self, found: Alert, row: Plain, strange: bool) -> Plain | None:
        """The chain it continues; None when it is no hop (by which nobody moves, or not ``strange`` enough), or the
        first."""
        if found.kind == "violation" or found.decision is not None or not (row["moves"] and strange):
            return None
        hop = self.judge.chains.hop_of(found, row["ts"])
        if hop is None or hop.length == 1:
            return None
        told = chain(self.judge.chains, hop)
        return {**told, "young": max(1.0, YOUNG_DAYS / max(row["history"], _INSTANT))}


def _decided(found: Alert) -> str:
    return "" if found.decision is None else found.decision.id


def _record(found: Alert, row: Plain, notes: Notes) -> Plain:
    since = {name: None if at is None else iso(int(at)) for name, at in notes.since.items()}
    return {
        "alert_id": found.alert_id,
        "ts": iso(row["ts"]),
        "observed": iso(row["obs_ts"]),
        "kind": KINDS[row["kind"]],
        **{name: row[name] for name in _RECORD},
        "known_since": since,
        "verdict": found.trust.verdict,
        "title": found.title,
    }


def _merged(notes: Notes, row: Plain) -> Plain:
    """S and its p-value: the rates of all models, with those of the case."""
    weighed = notes.weighed
    if weighed is None:
        raise RuntimeError("the fusion was not watched")
    return {
        "opinions": [opinion._asdict() for opinion in weighed.opinions],
        "began": None if weighed.began is None else iso(int(weighed.began)),
        "stranger_per_day": weighed.stranger,
        "judged_per_day": weighed.judged,
        "sum": float(row["fused"]),
        "past": notes.merged(float(row["fused"])),
        "p_value": float(row["p_value"]),
    }


def _severity(found: Alert, row: Plain) -> Plain:
    """Levels: of strangeness, of what it does, of whom it concerns."""
    p = min(row["p_value"], VIOLATION_P) if found.kind == "violation" else row["p_value"]
    return {
        "p_value": p,
        "strange": sum(p <= bound for bound in STRANGE) / 2,
        "consequence": CONSEQUENCE_LEVELS[row["consequence"]],
        "importance": IMPORTANCES[row["importance"]],
        "severity": found.severity,
    }

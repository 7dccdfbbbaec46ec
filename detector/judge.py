"""From scored rows to what people see: findings, alerts within the budget, chains and incidents."""

from typing import Any, Final

import polars as pl

from detector.alerts.explain import alert
from detector.alerts.model import Alert, Incident, alert_of, as_dict
from detector.assets.operations import facts
from detector.config import Settings
from detector.correlate.chains import Background, Chains
from detector.correlate.incidents import chained, incidents
from detector.features.units import KINDS, PLACES
from detector.score.budget import FINDINGS_PER_ALERT, P_CUT, Budget

_REPEAT_US: Final = 86_400_000_000  # the same act between the same hosts is one alert a day
YOUNG_DAYS: Final = 2.0
"""A network known for less than two days shows daily habits for the first time: hops count as less strange."""
_INSTANT: Final = 1e-11  # days; a microsecond
_MAX_REPEATS: Final = 100_000


class Judge:
    """Decides which scored rows are findings and alerts, and how they chain.

    Args:
        settings: see `config.Settings`.
    """

    def __init__(self, settings: Settings) -> None:
        self.budget = Budget(settings.alerts_per_day)
        self.chains = Chains(settings.false_incidents_per_day)
        self.alerts: list[tuple[Alert, int]] = []  # with their start, µs
        self._alerted: dict[tuple[str, ...], int] = {}

    def judge(self, scored: pl.DataFrame) -> pl.DataFrame:
        """Take rows in scoring order; only those strange enough reach Python. Adds ``finding``: which ones."""
        per_day = pl.col("rows_per_day")
        wanted = pl.min_horizontal(per_day * P_CUT, self.budget.alerts_per_day * FINDINGS_PER_ALERT)
        strange = (pl.col("p_value") * per_day <= wanted) & ~pl.col("resp_group") & ~pl.col("teach")
        scored = scored.with_columns(finding=strange)
        for row in scored.filter("finding").iter_rows(named=True):
            self._finding(row)
        return scored

    def incidents(self) -> list[Incident]:
        """All incidents as they stand, strongest first."""
        return incidents(self.chains)

    def final_alerts(self) -> list[Alert]:
        """All alerts in order, with the incidents they became part of."""
        return [chained(found, self.chains.incident_of(found.src, found.dst, ts)) for found, ts in self.alerts]

    def state(self) -> dict[str, Any]:
        """For a snapshot, JSON types only."""
        return {
            "alerts": [[as_dict(found), ts] for found, ts in self.alerts],
            "alerted": [[*key, time] for key, time in self._alerted.items()],
            "budget": self.budget.state(),
            "chains": self.chains.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace everything by what `state` returned."""
        self.alerts = [(alert_of(found), ts) for found, ts in state["alerts"]]
        self._alerted = {tuple(key): time for *key, time in state["alerted"]}
        self.budget.load(state["budget"])
        self.chains.load_state(state["chains"])

    def _finding(self, row: dict[str, Any]) -> None:
        p, rate, now = row["p_value"], row["rows_per_day"], row["obs_ts"]
        kind = KINDS[row["kind"]]
        act = facts(row["service"], row["operation"]).reads if row["operation"] else None
        row["evidence"] = row["uid"] or f"{row['source']}:{row['position']}"
        found = alert(row, kind, PLACES[row["stratum"] % len(PLACES)], act)
        if row["moves"]:
            background = Background(self.budget.findings_per_day(rate), row["hosts"])
            per_day = p * rate * max(1.0, YOUNG_DAYS / max(row["history"], _INSTANT))
            self.chains.add(found, row["ts"], per_day, background)
        if not self._repeats(found, now) and self.budget.alerts(p, rate, now):
            self._alerted[self._act_key(found)] = now
            self.alerts.append((found, row["ts"]))

    def _act_key(self, found: Alert) -> tuple[str, ...]:
        """What counts as the same act: one protocol between two hosts; worse acts are told apart from chatter."""
        return (
            found.src,
            found.dst,
            found.service,
            found.kind,
            found.techniques[0][:5] if found.techniques else "",
        )

    def _repeats(self, found: Alert, now: int) -> bool:
        """Whether the same act was an alert within a day."""
        while self._alerted and (
            len(self._alerted) > _MAX_REPEATS or next(iter(self._alerted.values())) < now - _REPEAT_US
        ):
            del self._alerted[next(iter(self._alerted))]
        return self._act_key(found) in self._alerted

"""The path, read top to bottom: decoded rows in, scored units, alerts and incidents out. No I/O and no clock."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

import detector
from detector.alerts.explain import alert
from detector.alerts.model import Alert, Incident, alert_of, as_dict
from detector.assets.operations import facts
from detector.assets.plant import Plant
from detector.config import Settings
from detector.correlate.chains import Background, Chains
from detector.correlate.incidents import chained, incidents
from detector.features.units import INTEREST, KINDS, PLACES, Enrich, flow_units, operation_units, outside_key
from detector.normalize.direction import Direction
from detector.normalize.order import Order, Released
from detector.normalize.twins import FLOW_IDENTITY, OPERATION_IDENTITY, Twins
from detector.records import Decoded, merge
from detector.score.budget import FINDINGS_PER_ALERT, P_CUT, Budget
from detector.score.structure import Structure, units_of
from detector.state import snapshot

_UNIT_ORDER: Final = [
    "obs_ts", "kind", "ts", "orig_h", "orig_p", "resp_h", "resp_p", "service", "operation", "uid", "object", "user",
    "log", "source", "position",
]  # fmt: skip
_REPEAT_US: Final = 86_400_000_000  # the same act between the same hosts is one alert a day
YOUNG_US: Final = 2 * 86_400_000_000
"""A network known for less than two days shows daily habits for the first time: hops count as less strange."""
RELEASE_ROWS: Final = 512  # rows that must have come before it is worth looking which ones' turn it is
_MAX_REPEATS: Final = 100_000
_COUNTERS: Final = ("rejected", "filtered", "notes")


@dataclass(slots=True)
class Accounting:
    """Where every input row went: rows = scored + rejected + duplicate + late + filtered, always."""

    rows: int = 0
    scored: int = 0
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)  # (source, reason)
    duplicate: int = 0
    late: int = 0
    filtered: Counter[tuple[str, str]] = field(default_factory=Counter)  # (log, reason)
    paired: int = 0  # of the scored: rows that are the other half of a conversation
    taught: int = 0  # of the scored: rows that only taught
    notes: Counter[tuple[str, str]] = field(default_factory=Counter)  # values mended, by (log, what)

    @property
    def waiting(self) -> int:
        """Rows in the reorder buffer; 0 after `Engine.finish`."""
        done = self.scored + self.duplicate + self.late + self.rejected.total() + self.filtered.total()
        return self.rows - done


class Engine:
    """Scores rows in order of observation time.

    Args:
        settings: see `config.Settings`.
        plant: what is declared of the network.
        train_until: rows observed before this time (µs) only teach; None = all are judged.
    """

    def __init__(self, settings: Settings, plant: Plant | None = None, train_until: int | None = None) -> None:
        self.settings = settings
        self.train_until = train_until
        self.teach = False  # while True all rows only teach
        self.accounting = Accounting()
        self.alerts: list[tuple[Alert, int]] = []  # with their start, µs
        self.order = Order(round(settings.reorder_seconds * 1e6))
        self.direction = Direction()
        self.flow_twins = Twins(FLOW_IDENTITY, settings.max_seen)
        self.operation_twins = Twins(OPERATION_IDENTITY, settings.max_seen)
        self.enrich = Enrich(plant or Plant())
        self.release_rows = RELEASE_ROWS
        self._pushed: list[Decoded] = []
        self._fingerprint = snapshot.fingerprint(
            detector.__version__,
            settings.model_dump(exclude={"batch_rows"}),
            (plant or Plant()).model_dump(mode="json"),
        )
        self.structure = Structure(INTEREST, outside_key(), settings.max_entries, settings.half_life_days)
        self.budget = Budget(settings.alerts_per_day)
        self.chains = Chains(settings.false_incidents_per_day)
        self._alerted: dict[tuple[str, ...], int] = {}
        self._nothing = self._score(self.order.release())  # no units, all columns

    def push(self, decoded: Decoded) -> pl.DataFrame:
        """Take decoded rows in any order; returns the units that could be scored, in scoring order."""
        self.count(decoded)
        self._pushed.append(decoded)
        if sum(part.flows.height + part.operations.height for part in self._pushed) < self.release_rows:
            return self._nothing
        self._order_pushed()
        return self._score(self.order.release())

    def _order_pushed(self) -> None:
        taken = merge(self._pushed)
        self.order.push(taken.flows, taken.operations)
        self._pushed = []

    def count(self, decoded: Decoded) -> None:
        """Account for rows; part of `push`, alone for records that are no rows (rejected, filtered)."""
        account = self.accounting
        account.rows += decoded.rows
        account.rejected.update((reject.source, reject.reason) for reject in decoded.rejects)
        account.filtered += decoded.filtered
        account.notes += decoded.notes

    def finish(self) -> pl.DataFrame:
        """No more rows will come: score what still waits."""
        self._order_pushed()
        return self._score(self.order.release(everything=True))

    def snapshot(self) -> bytes:
        """Everything learned and everything that waits: `restore` on an engine of the same settings goes on
        from here."""
        self._order_pushed()
        arrays = {
            f"{part}.{name}": array for part, owner in self._tables().items() for name, array in owner.arrays().items()
        }
        waiting = {f"order.{name}": array for name, array in self.order.arrays().items()}
        account = asdict(self.accounting)
        for name in _COUNTERS:  # `asdict` would count a counter's items
            account[name] = [[*key, count] for key, count in getattr(self.accounting, name).items()]
        facts = {
            "accounting": account,
            "alerts": [[as_dict(found), ts] for found, ts in self.alerts],
            "alerted": [[*key, time] for key, time in self._alerted.items()],
            "budget": self.budget.state(),
            "chains": self.chains.state(),
            "order": self.order.state(),
            "teach": self.teach,
        }
        return snapshot.write(arrays | waiting, facts, self._fingerprint)

    def restore(self, content: bytes) -> None:
        """Replace all state by a snapshot's.

        Raises:
            StateMismatch: the snapshot is damaged or was made with other settings.
        """
        arrays, facts = snapshot.read(content, self._fingerprint)
        for part, owner in {**self._tables(), "order": self.order}.items():
            prefix = f"{part}."
            owner.load({name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})
        counters = {name: Counter({(log, what): n for log, what, n in facts["accounting"][name]}) for name in _COUNTERS}
        self.accounting = Accounting(**(facts["accounting"] | counters))
        self.alerts = [(alert_of(found), ts) for found, ts in facts["alerts"]]
        self._alerted = {tuple(key): time for *key, time in facts["alerted"]}
        self.budget.load(facts["budget"])
        self.chains.load_state(facts["chains"])
        self.order.load_state(facts["order"])
        self.teach = facts["teach"]
        self._pushed = []

    def _tables(self) -> dict[str, Any]:
        return {
            "structure": self.structure,
            "endpoints": self.direction.endpoints,
            "flow_twins": self.flow_twins.seen,
            "operation_twins": self.operation_twins.seen,
        }

    def incidents(self) -> list[Incident]:
        """All incidents as they stand, strongest first."""
        return incidents(self.chains)

    def final_alerts(self) -> list[Alert]:
        """All alerts in order, with the incidents they became part of."""
        return [chained(found, self.chains.incident_of(found.src, found.dst, ts)) for found, ts in self.alerts]

    def _score(self, released: Released) -> pl.DataFrame:
        units = self.enrich(self._units(released))
        units = units.with_columns(teach=pl.lit(self.teach) | (pl.col("obs_ts") < (self.train_until or 0)))
        scored = pl.concat([units, self.structure.score(units_of(units))], how="horizontal")
        scored = scored.with_columns(p_value=pl.min_horizontal(pl.col("p_value") / pl.col("weight"), 1.0))
        self.accounting.taught += int(scored["teach"].sum())
        return self._judge(scored)

    def _units(self, released: Released) -> pl.DataFrame:
        flows = self.direction.orient(released.flows)
        parts = []
        for frame, twins, build in (
            (flows, self.flow_twins, flow_units),
            (released.operations, self.operation_twins, operation_units),
        ):
            twin = twins.mark(frame)
            paired = frame["paired"].to_numpy() if "paired" in frame.columns else np.zeros(frame.height, np.bool_)
            self._account(frame["late"].to_numpy(), twin, paired)
            parts.append(build(frame.filter(pl.Series(~twin, dtype=pl.Boolean))))
        return pl.concat(parts).sort(_UNIT_ORDER, nulls_last=True)

    def _account(self, late: NDArray[np.bool_], twin: NDArray[np.bool_], paired: NDArray[np.bool_]) -> None:
        """A pair is two input rows; a late row that is no twin is scored too, but counts as late."""
        account = self.accounting
        weight = 1 + paired.astype(np.int64)
        account.duplicate += int(weight[twin].sum())
        account.late += int(weight[late & ~twin].sum())
        account.scored += int(weight[~late & ~twin].sum())
        account.paired += int(paired[~late & ~twin].sum())

    def _judge(self, scored: pl.DataFrame) -> pl.DataFrame:
        """Findings, alerts and chains; only rows strange enough reach Python. Adds ``finding``: which ones."""
        per_day = pl.col("rows_per_day")
        wanted = pl.min_horizontal(per_day * P_CUT, self.budget.alerts_per_day * FINDINGS_PER_ALERT)
        strange = (pl.col("p_value") * per_day <= wanted) & ~pl.col("resp_group") & ~pl.col("teach")
        scored = scored.with_columns(finding=strange)
        for row in scored.filter("finding").iter_rows(named=True):
            self._finding(row)
        return scored

    def _finding(self, row: dict[str, Any]) -> None:
        p, rate, now = row["p_value"], row["rows_per_day"], row["obs_ts"]
        kind = KINDS[row["kind"]]
        act = facts(row["service"], row["operation"]).reads if row["operation"] else None
        row["evidence"] = row["uid"] or f"{row['source']}:{row['position']}"
        found = alert(row, kind, PLACES[row["stratum"] % len(PLACES)], act)
        if row["moves"]:
            background = Background(self.budget.findings_per_day(rate), row["hosts"])
            per_day = p * rate * max(1.0, YOUNG_US / max(now - self.structure.began, 1.0))
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

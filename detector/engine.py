"""The path, read top to bottom: decoded rows in, scored units, alerts and incidents out. No I/O and no clock."""

from collections import Counter
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.alerts.decisions import End, Entry
from detector.assets.plant import Plant
from detector.config import Settings
from detector.features.units import CROSSING_BONUS, PLACE_INTEREST, Enrich, flow_units, operation_units, outside_key
from detector.judge import Judge
from detector.normalize.clock import in_time
from detector.normalize.direction import Direction
from detector.normalize.order import Order, Released, in_order
from detector.normalize.twins import FLOW_IDENTITY, OPERATION_IDENTITY, Twins
from detector.records import Decoded
from detector.rows import Rows
from detector.score import portable
from detector.score.scorer import Scorer
from detector.state import snapshot
from detector.state.bundle import Bundle
from detector.state.snapshot import Capture

_UNIT_ORDER: Final = [
    "obs_ts", "kind", "ts", "orig_h", "orig_p", "resp_h", "resp_p", "service", "operation", "uid", "object", "user",
    "log", "source", "position",
]  # fmt: skip
RELEASE_ROWS: Final = 512  # rows that must have come before it is worth looking which ones' turn it is
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

    def add(
        self,
        rejected: Counter[tuple[str, str]],
        filtered: Counter[tuple[str, str]],
        notes: Counter[tuple[str, str]],
    ) -> None:
        """Records that are no rows; see the attributes of the same names."""
        self.rows += rejected.total() + filtered.total()
        self.rejected += rejected
        self.filtered += filtered
        self.notes += notes


class Engine:
    """Scores rows in order of observation time.

    Args:
        settings: see `config.Settings`.
        plant: what is declared of the network.
        train_until: rows observed before this time (µs) only teach; None = all are judged.
        decisions: what people decided; no part of the fingerprint, as nothing that is learned depends on them.
        model: what another network taught, to begin with; its digest is part of the fingerprint.

    Raises:
        StateMismatch: the model does not fit these settings.
    """

    def __init__(
        self,
        settings: Settings,
        plant: Plant | None = None,
        train_until: int | None = None,
        decisions: Sequence[Entry | End] = (),
        model: Bundle | None = None,
    ) -> None:
        self.settings = settings
        self.model = model
        self.train_until = train_until
        self.teach = False  # while True all rows only teach
        self.accounting = Accounting()
        self.order = Order(round(settings.reorder_seconds * 1e6))
        self.direction = Direction()
        self.flow_twins = Twins(FLOW_IDENTITY, settings.max_seen)
        self.operation_twins = Twins(OPERATION_IDENTITY, settings.max_seen)
        self.enrich = Enrich(plant or Plant())
        self.release_rows = RELEASE_ROWS
        self._pushed: list[Decoded] = []
        self._settled: list[Rows] = []
        self.fingerprint = snapshot.fingerprint(
            settings.model_dump(exclude={"batch_rows"}, exclude_defaults=True),
            _of_plant(plant or Plant()),
            *([] if model is None else [model.sha256]),
        )
        self.scorer = Scorer(settings, PLACE_INTEREST, outside_key(), (plant or Plant()).timezone, CROSSING_BONUS)
        if model is not None:
            portable.begin(self.scorer, settings, model)
        self.judge = Judge(settings, plant, decisions, None if model is None else model.short)
        self._nothing = self._score(self.order.flush())  # no units, all columns

    def push(self, decoded: Decoded) -> Rows:
        """Take decoded rows in any order; returns the units that could be scored, in scoring order: what
        nobody looks at is never put together."""
        decoded = in_time(decoded)
        self.count(decoded)
        self._pushed.append(decoded)
        if sum(part.flows.height + part.operations.height for part in self._pushed) < self.release_rows:
            return self._nothing
        return self.settle()

    def settle(self) -> Rows:
        """Score all units that can be; `push` waits until there are some hundred rows to look at."""
        parts, self._pushed = self._pushed, []
        scored = [*self._settled, *(self._score(released) for released in self.order.push(parts))]
        self._settled = []
        return Rows.concat(scored) if scored else self._nothing

    def count(self, decoded: Decoded) -> None:
        """Account for rows; part of `push`, alone for records that are no rows (rejected, filtered)."""
        rejected = Counter((reject.source, reject.reason) for reject in decoded.rejects)
        self.accounting.rows += decoded.flows.height + decoded.operations.height
        self.accounting.add(rejected, decoded.filtered, decoded.notes)

    def finish(self) -> Rows:
        """No more rows will come: score what still waits."""
        scored = Rows.concat([self.settle(), self._score(self.order.flush())])
        self.judge.finish()
        return scored

    def snapshot(self) -> bytes:
        """`capture`, written."""
        return self.capture().write()

    def capture(self, beside: Mapping[str, Any] | None = None) -> Capture:
        """Everything learned and everything that waits: `restore` on an engine of the same settings goes on
        from here. Units scored for it come with those of the next `push`.

        Args:
            beside: what the caller wants to find again (JSON types); `restore` returns it.
        """
        self._settled = [self.settle()]
        arrays = {
            f"{part}.{name}": array for part, owner in self._tables().items() for name, array in owner.arrays().items()
        }
        order = copy(self.order)  # its frames are replaced, never written to
        account = asdict(self.accounting)
        for name in _COUNTERS:  # `asdict` would count a counter's items
            account[name] = [[*key, count] for key, count in sorted(getattr(self.accounting, name).items())]
        facts = {
            "accounting": account,
            "judge": self.judge.state(),
            "order": self.order.state(),
            "teach": self.teach,
            "beside": dict(beside or {}),
        }
        return Capture.of(
            arrays, facts, self.fingerprint, lambda: {f"order.{name}": a for name, a in order.arrays().items()}
        )

    def restore(self, content: bytes) -> dict[str, Any]:
        """Replace all state by a snapshot's; returns what was put `beside` it.

        Raises:
            StateMismatch: the snapshot is damaged or was made with other settings.
        """
        arrays, facts = snapshot.read(content, self.fingerprint)
        for part, owner in {**self._tables(), "order": self.order}.items():
            prefix = f"{part}."
            owner.load({name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})
        counters = {name: Counter({(log, what): n for log, what, n in facts["accounting"][name]}) for name in _COUNTERS}
        self.accounting = Accounting(**(facts["accounting"] | counters))
        self.judge.load_state(facts["judge"])
        self.order.load_state(facts["order"])
        self.teach = facts["teach"]
        self._pushed, self._settled = [], []
        beside: dict[str, Any] = facts["beside"]
        return beside

    def _tables(self) -> dict[str, Any]:
        return {
            "scorer": self.scorer,
            "endpoints": self.direction.endpoints,
            "flow_twins": self.flow_twins.seen,
            "operation_twins": self.operation_twins.seen,
        }

    def _score(self, released: Released) -> Rows:
        units = self.enrich(self._units(released))
        teach = (units.array("obs_ts") < (self.train_until or 0)) | self.teach
        self.accounting.taught += int(np.count_nonzero(teach))
        return self._judged(units.plus({"teach": teach}))

    def _judged(self, units: Rows) -> Rows:
        return self.judge.judge(self.scorer.score(units))

    def _units(self, released: Released) -> Rows:
        flows = self.direction.orient(released.flows)
        parts = []
        for rows, twins, build in (
            (flows, self.flow_twins, flow_units),
            (released.operations, self.operation_twins, operation_units),
        ):
            twin = twins.mark(rows)
            paired = rows.array("paired") if "paired" in rows.columns else np.zeros(rows.height, np.bool_)
            self._account(rows.array("late"), twin, paired)
            parts.append(build(rows.at(np.flatnonzero(~twin)) if twin.any() else rows))
        return in_turn(parts)

    def _account(self, late: NDArray[np.bool_], twin: NDArray[np.bool_], paired: NDArray[np.bool_]) -> None:
        """A pair is two input rows; a late row that is no twin is scored too, but counts as late."""
        account = self.accounting
        weight = 1 + paired.astype(np.int64)
        account.duplicate += int(weight[twin].sum())
        account.late += int(weight[late & ~twin].sum())
        account.scored += int(weight[~late & ~twin].sum())
        account.paired += int(paired[~late & ~twin].sum())


def in_turn(parts: Sequence[Rows]) -> Rows:
    """Units in the order in which they are scored."""
    return in_order(Rows.concat(parts), _UNIT_ORDER[:3], _UNIT_ORDER, nulls_last=True)


def _of_plant(plant: Plant) -> dict[str, Any]:
    """What of the plant file decides what is learned: assets only where zones are made of their roles."""
    by_role = any(zone.roles for zone in plant.zones)
    told: dict[str, Any] = plant.model_dump(
        mode="json", exclude_defaults=True, exclude=set() if by_role else {"assets"}
    )
    return told

"""From scored rows to what people see: findings, alerts within the budget, chains and incidents."""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.alerts.decisions import STATUSES, Decisions, End, Entry, Held
from detector.alerts.explain import alert, continued, joined, rated, repeated, violation
from detector.alerts.model import IMPORTANCES, Alert, Incident, Told, alert_of, as_dict
from detector.alerts.runbook import SWEEPS
from detector.assets import services
from detector.assets.operations import facts
from detector.assets.plant import Plant
from detector.config import Settings
from detector.correlate.chains import DAY_US, HOP_WINDOW_US, KEEP_US, Background, Chains
from detector.correlate.context import Context
from detector.correlate.entities import Entities
from detector.correlate.incidents import incidents
from detector.correlate.telling import MINUTE_US, Telling
from detector.correlate.violations import Place, Violations
from detector.features.acts import ATTEMPT_KIND
from detector.features.conduits import Conduits
from detector.features.units import KINDS, PLACES
from detector.rows import Rows
from detector.score.budget import FINDINGS_PER_ALERT, P_CUT, Budget
from detector.score.fusion import SMALLEST_P
from detector.score.trust import ANSWERS

_REPEAT_US: Final = DAY_US  # the same act between the same hosts is one alert a day
YOUNG_DAYS: Final = 2.0
"""A network known for less than two days shows daily habits for the first time: hops count as less strange."""
_NEVER: Final = -(1 << 62)  # before any row
_INSTANT: Final = 1e-11  # days; a microsecond
_MAX_REPEATS: Final = 100_000
_MAX_CASES: Final = 10_000
_MAX_FINDINGS: Final = 16  # of one case that are kept: the strongest, and the one that made it an alert
MAX_RELATED: Final = 8  # alerts of one's hosts that an alert names, the latest first
_MOST_LOOKED_AT: Final = 256  # alerts that are looked at for that
KNOWN_DAYS: Final = 1.0  # of history before a first-ever act on a controller speaks for itself

FIRST_ACTS_PER_DAY: Final = 0.5
"""First acts on a controller by a host that never did such a thing, at most, when nothing is wrong: a new station, a
new function. Models that learned little must not rank them below what is merely new."""


@dataclass(slots=True)
class Case:
    """What was found between two hosts within an hour; one alert at most."""

    began: int
    findings: list[Alert] = field(default_factory=list)  # in order of arrival
    alert: int | None = None  # its place among the alerts
    count: int = 0  # findings so far, kept or not

    def add(self, found: Alert, opened: str | None) -> None:
        """Keep a finding; beyond `_MAX_FINDINGS` the weakest goes, the last of equals. Never the one whose id the
        alert has (``opened``): its time and its evidence are the alert's."""
        self.count += 1
        self.findings.append(found)
        if len(self.findings) > _MAX_FINDINGS:
            order = [(one.alert_id != opened, one.p_value, place) for place, one in enumerate(self.findings)]
            del self.findings[max(order)[-1]]


Watch = Callable[[Alert, dict[str, Any], float], None]


def _unwatched(found: Alert, row: dict[str, Any], expected: float) -> None:
    """Nobody looks."""


class Judge:
    """Decides which scored rows are findings and alerts, and how they chain.

    An alert is one *case*: what two hosts did within an hour. What is found later in that hour is added to it.

    Args:
        settings: see `config.Settings`.
        plant: what is declared of the network.
        decisions: what people decided. Acts that one covers are alerts of another status: they have a budget of their
            own, and are no evidence for chains or hosts.
        model: short digest of the model the engine began with, for alerts.

    Attributes:
        watch: called with each finding and violation, its row, and how many such a day are expected, before it is
            decided whether that is an alert; for who explains it.
    """

    def __init__(
        self,
        settings: Settings,
        plant: Plant | None = None,
        decisions: Sequence[Entry | End] = (),
        model: str | None = None,
    ) -> None:
        self.budget = Budget(settings.alerts_per_day)
        self.budget_decided = Budget(settings.alerts_per_day)
        self.budget_violations = Budget(settings.alerts_per_day)
        self.decisions = Decisions.of(decisions)
        self.adopted: list[Held] = []  # what `load_state` made hold at other times than declared
        self.chains = Chains(settings.false_incidents_per_day)
        self.entities = Entities()
        self.alerts: list[tuple[Alert, int]] = []  # with their start, µs
        self.keep_all = True  # a service forgets alerts when no chain can change them any more
        self._dropped = 0  # alerts before the first that is kept
        self.violations = Violations()
        self._conduits = Conduits(plant or Plant())
        self._context = Context(plant or Plant(), model)
        self._telling = Telling(self.chains, self._context.told)
        self._latest = _NEVER  # observation time that rows have come to
        self._cases: dict[tuple[str, str, str], Case] = {}  # by both hosts, and by the decision about its acts
        self._alerted: dict[tuple[str, ...], tuple[int, int]] = {}  # act -> when it was told, place of the alert
        self.watch: Watch = _unwatched

    def judge(self, scored: Rows) -> Rows:
        """Take rows in scoring order; only those strange enough reach Python. Adds ``finding``: which ones; their
        ``p_value`` becomes that of the chain they continue when that is smaller. Without the operations model no act
        is a first one."""
        strange = self._strange(scored)
        if not scored.height:
            return scored.plus({"finding": strange})
        latest = np.maximum.accumulate(np.insert(scored.array("obs_ts"), 0, self._latest))
        minutes = deque(np.flatnonzero(np.diff(latest // MINUTE_US)).tolist())  # rows that begin one
        violated = self._violated(scored)
        places, p_values = np.flatnonzero(strange | violated), scored.array("p_value").copy()
        for place, row in zip(places.tolist(), scored.dicts(places) if places.size else (), strict=True):
            while minutes and minutes[0] <= place:
                self._begin_minute(int(latest[minutes.popleft() + 1]))
            found = self._described(row)
            if strange[place]:
                p_values[place] = self._finding(found, row)
            if violated[place]:
                self._violation(found, row)
        for begin in minutes:
            self._begin_minute(int(latest[begin + 1]))
        self._latest = int(latest[-1])
        return scored.plus({"finding": strange, "p_value": p_values})

    def _strange(self, scored: Rows) -> NDArray[np.bool_]:
        """Which rows are findings."""
        per_day = scored.array("rows_per_day")
        wanted = np.minimum(per_day * P_CUT, self.budget.alerts_per_day * FINDINGS_PER_ALERT)
        strange: NDArray[np.bool_] = scored.array("p_value") * per_day <= wanted
        if "first_act" in scored.columns:
            strange |= scored.array("first_act") & (scored.array("history") >= KNOWN_DAYS)
        strange &= ~(scored.array("resp_group") | scored.array("teach"))
        return strange

    @staticmethod
    def _violated(scored: Rows) -> NDArray[np.bool_]:
        """Which rows are violations to tell: what nobody answered was stopped where it should be."""
        violated: NDArray[np.bool_] = scored.array("violation") & (scored.array("kind") != ATTEMPT_KIND)
        violated &= ~scored.array("teach")
        return violated

    def finish(self) -> None:
        """No more rows will come: tell what may still wait."""
        self._telling.tick(self._latest, self._alert_at, everything=True)

    def told(self) -> list[Told]:
        """What people are to be told since the last call, in order."""
        return self._telling.take()

    def _begin_minute(self, now: int) -> None:
        self._telling.tick(now, self._alert_at)
        self._forget(now)

    def _alert_at(self, place: int) -> tuple[Alert, int]:
        return self.alerts[place - self._dropped]

    def _forget(self, now: int) -> None:
        if self.keep_all:
            return
        while self.alerts and self.alerts[0][1] < now - KEEP_US - HOP_WINDOW_US:
            self._telling.forget(self._dropped, *self.alerts[0])
            del self.alerts[0]
            self._dropped += 1

    def incidents(self) -> list[Incident]:
        """All incidents as they stand, strongest first."""
        return incidents(self.chains)

    def final_alerts(self) -> list[Alert]:
        """All alerts in order, with the incidents they became part of."""
        places = self.chains.places({(found.src, found.dst) for found, _ in self.alerts})
        return [self._context.told(found, places.incident(found.src, found.dst, ts)) for found, ts in self.alerts]

    def state(self) -> dict[str, Any]:
        """For a snapshot, JSON types only."""
        return {
            "alerts": [[as_dict(found), ts] for found, ts in self.alerts],
            "dropped": self._dropped,
            "latest": self._latest,
            "telling": self._telling.state(),
            "alerted": [[*key, *told] for key, told in self._alerted.items()],
            "cases": [
                [*key, case.began, [as_dict(found) for found in case.findings], case.alert, case.count]
                for key, case in self._cases.items()
            ],
            "budget": self.budget.state(),
            "budget_decided": self.budget_decided.state(),
            "budget_violations": self.budget_violations.state(),
            "violations": self.violations.state(),
            "decisions": self.decisions.state(),
            "chains": self.chains.state(),
            "entities": self.entities.state(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Replace everything by what `state` returned; decisions stay, and hold as `Decisions.adopt` says."""
        self.alerts = [(alert_of(found), ts) for found, ts in state["alerts"]]
        self._dropped, self._latest = state["dropped"], state["latest"]
        self._alerted = {tuple(key): (time, place) for *key, time, place in state["alerted"]}
        self._cases = {
            (src, dst, decision): Case(began, [alert_of(found) for found in findings], place, count)
            for src, dst, decision, began, findings, place, count in state["cases"]
        }
        self.budget.load(state["budget"])
        self.budget_decided.load(state["budget_decided"])
        if "violations" in state:  # an engine before them had no enforced zones, and told none
            self.budget_violations.load(state["budget_violations"])
            self.violations.load_state(state["violations"])
        self.adopted = self.decisions.adopt(state["decisions"], self._latest)
        self.chains.load_state(state["chains"])
        self.entities.load_state(state["entities"])
        self._telling.load_state(state["telling"])

    def _described(self, row: dict[str, Any]) -> Alert:
        """The row as an alert; adds what it takes to the row."""
        row["evidence"] = row["uid"] or f"{row['source']}:{row['position']}"
        row["transport"] = row["proto"] or services.transport(row["service"])
        ends = self._context.asset(row["orig_h"]), self._context.asset(row["resp_h"])
        row["importance"] = max((end.importance for end in ends), key=list(IMPORTANCES).index)
        row["trust"] = ANSWERS[row["trust"]]
        act = facts(row["service"], row["operation"]).reads if row["operation"] else None
        return alert(row, KINDS[row["kind"]], PLACES[row["stratum"] % len(PLACES)], act)

    def _decide(self, found: Alert, now: int) -> Alert:
        """The alert with what was decided about it."""
        decision = self.decisions.find(found, self._context.asset(found.src), self._context.asset(found.dst), now)
        if decision is None:
            return found
        self.decisions.hit(decision)
        return replace(found, status=STATUSES[decision.action], decision=decision)

    def _violation(self, found: Alert, row: dict[str, Any]) -> None:
        """Opens the alert of a violation, or counts it in the one that tells the same."""
        way = self._conduits.way(row["orig_zone"], row["resp_zone"], row["service"], row["operation"], row["resp_p"])
        why, operation = self._conduits.breach(way)
        now = row["obs_ts"]
        found = self._decide(violation(found, row, way[:3], why, operation), now)
        self.watch(found, row, 0.0)
        same = Place(*way[:3], operation, found.src, found.dst, _decided(found))
        place = self.violations.alert(same, now)
        if place is not None:
            self._repeat(place, found)
            return
        budget = self.budget_violations if found.decision is None else self.budget_decided
        if not budget.alerts(0.0, row["rows_per_day"], now, certain=self.violations.is_new(same, now)):
            self.violations.withheld += 1
            return
        place = self._dropped + len(self.alerts)
        self.violations.tell(same, now, place)
        self.alerts.append((replace(found, related=self._related(found, now)), row["ts"]))
        self._telling.opened(place, *self._alert_at(place), (row["source"], row["position"]))

    def _finding(self, found: Alert, row: dict[str, Any]) -> float:
        """Takes one finding; returns its p-value in the light of the chain it continues."""
        rate = row["rows_per_day"]
        expected = row["p_value"] * rate  # such findings a day when nothing is wrong
        certain = row.get("first_act", False) and row["history"] >= KNOWN_DAYS
        if certain and expected > FIRST_ACTS_PER_DAY:
            expected = FIRST_ACTS_PER_DAY
            found = rated(found, expected / rate)
        found = self._decide(found, row["obs_ts"])
        if found.decision is None:
            expected, found = self._chained(found, row, expected)
            self.entities.add(found, row, expected, self.budget.findings_per_day(rate))
        self._tell(found, row, expected, certain=certain)
        return found.p_value

    def _chained(self, found: Alert, row: dict[str, Any], expected: float) -> tuple[float, Alert]:
        """Adds the finding to the chains; findings a day as strange, and the alert, in the light of the chain it
        continues."""
        rate = row["rows_per_day"]
        hops = self.budget.hops_per_day(rate)
        if row["moves"] and expected <= hops:
            background = Background(hops, row["hosts"])
            young = max(1.0, YOUNG_DAYS / max(row["history"], _INSTANT))
            hop = self.chains.add(found, row["ts"], expected * young, background)
            self._telling.began(hop.incident)
            by_chance = max(self.chains.news(hop) * young, SMALLEST_P * rate)
            if by_chance < expected:
                return by_chance, continued(found, by_chance / rate, self.chains.path(hop)[0].src)
        return expected, found

    def _tell(self, found: Alert, row: dict[str, Any], expected: float, *, certain: bool) -> None:
        """Adds the finding to its case; opens the case's alert, or adds to it."""
        rate, now = row["rows_per_day"], row["obs_ts"]
        self.watch(found, row, expected)
        case = self._case(found, row["ts"])
        before = self._told_before(found, now) if case.alert is None else None
        if before is not None:
            self._repeat(before, found)
        opens = case.alert is None and before is None
        budget = self.budget if found.decision is None else self.budget_decided
        opens = opens and budget.alerts(expected, rate, now, certain=certain)
        if opens:
            case.alert = self._dropped + len(self.alerts)
            self.alerts.append((replace(found, count=case.count, related=self._related(found, now)), row["ts"]))
        if case.alert is None or case.alert < self._dropped:
            case.add(found, None)
            return
        opened, ts = self._alert_at(case.alert)
        case.add(found, opened.alert_id)
        self.alerts[case.alert - self._dropped] = joined(opened, case.findings, opened.count + 1), ts
        self._remember(found, now, case.alert)
        if opens:
            self._telling.opened(case.alert, *self._alert_at(case.alert), (row["source"], row["position"]))
        else:
            self._telling.changed(case.alert)

    def case_of(self, found: Alert) -> Case | None:
        """The last case of a finding's two hosts, and of what was decided about it."""
        return self._cases.get((found.src, found.dst, _decided(found)))

    def _case(self, found: Alert, ts: int) -> Case:
        """The open case of the two hosts, or a new one. What was decided is a case of its own: it must hide nothing."""
        key = found.src, found.dst, _decided(found)
        known = self._cases.get(key)
        if known is not None and abs(ts - known.began) <= HOP_WINDOW_US:
            return known
        self._cases.pop(key, None)  # so that the order of the dictionary is that of the beginnings
        while len(self._cases) >= _MAX_CASES:
            del self._cases[next(iter(self._cases))]
        self._cases[key] = Case(ts)
        return self._cases[key]

    def _told_before(self, found: Alert, now: int) -> int | None:
        """Place of the alert that the same act was in within a day, before or (rows may be late) after."""
        time, place = self._alerted.get(_act_key(found), (_NEVER, -1))
        return place if abs(now - time) < _REPEAT_US else None

    def _repeat(self, place: int, found: Alert) -> None:
        """The act counts in the alert it was told in, while that is kept."""
        if place >= self._dropped:
            told, ts = self._alert_at(place)
            self.alerts[place - self._dropped] = repeated(told, found), ts
            self._telling.changed(place)

    def _related(self, found: Alert, now: int) -> tuple[str, ...]:
        """Ids of the alerts of the last day that share a host with a new one, the latest first. Later ones name it in
        their turn, so that it need not be told again for them."""
        hosts = {found.src, found.dst}
        latest = self.alerts[: -_MOST_LOOKED_AT - 1 : -1]
        near = (
            other.alert_id
            for other, ts in latest
            if ts >= now - DAY_US and not hosts.isdisjoint((other.src, other.dst))
        )
        return tuple(itertools.islice(near, MAX_RELATED))

    def _remember(self, found: Alert, now: int, place: int) -> None:
        """The act is in an alert. What was told longest ago is first in the dictionary, and goes after a day."""
        key = _act_key(found)
        self._alerted.pop(key, None)
        self._alerted[key] = now, place
        while len(self._alerted) > _MAX_REPEATS or abs(now - next(iter(self._alerted.values()))[0]) >= _REPEAT_US:
            del self._alerted[next(iter(self._alerted))]


def _act_key(found: Alert) -> tuple[str, ...]:
    """What counts as the same act: one protocol between two hosts, or one sweep of a source; worse acts are told apart
    from chatter."""
    sweeps = SWEEPS.intersection(found.techniques)
    if sweeps:
        return (found.src, "", "", found.kind, min(sweeps), _decided(found))
    family = found.techniques[0][:5] if found.techniques else ""
    return (found.src, found.dst, found.service, found.kind, family, _decided(found))


def _decided(found: Alert) -> str:
    """Id of the decision about it, or nothing."""
    return "" if found.decision is None else found.decision.id

"""What is noted of one row before and after the models see it: the counts, means and past scores they judge it by."""

import math
from typing import Any, Final

from detector.alerts.model import iso
from detector.config import MODELS
from detector.score import backoff, calibration
from detector.score.calibration import MIN_ROWS, Calibration
from detector.score.columns import Columns
from detector.score.credentials import TICKET_ODDS, Credentials
from detector.score.drip import STRETCH, Drip
from detector.score.fanout import Fanout
from detector.score.forest import JOINED, Forest
from detector.score.fusion import Fusion, Weighed
from detector.score.scorer import Scorer
from detector.score.structure import Structure
from detector.score.trust import Trust
from detector.score.vendors import Vendors
from detector.score.volume import Volume
from detector.score.windows import FEATURES, Windows

Plain = dict[str, Any]
SCORES: Final = {name: {"crossing": "crossing_nats"}.get(name, name) for name in ("structure", *MODELS)}
"""The column that a model's p-value is read from: nats, or what is scaled to fill a histogram of nats."""
_WHATS: Final = (None, "connections", "bytes sent", "bytes received")
_FEW: Final = ("volume", "fanout")  # until they have past scores their own law speaks (`habits.p_value`)


class Past:
    """The past scores that one row is compared with, as they were when it came."""

    def __init__(self, own: Calibration, stratum: int, now: int, *, fades: bool = True) -> None:
        places = [stratum, -1]
        arrays = (own.histograms, own.trees, own.totals, own.tails)
        histograms, self._trees, self._totals, self._tails = (array[places] for array in arrays)
        if fades:
            calibration.fade(histograms, self._trees, self._totals, self._tails, own.clock.copy(), now)

    def judge(self, score: float) -> Plain:
        """How a score becomes a p-value: whose past, how many, how many were at least as high, and the tail beyond the
        highest percent of them (None when it is not reached)."""
        mine = int(self._totals[0] < MIN_ROWS)  # else the pooled one speaks
        total, (start, above, scale) = float(self._totals[mine]), self._tails[mine].tolist()
        index = min(max(int(score / calibration.BIN_WIDTH), 0), calibration.BINS - 1)
        beyond = score >= start
        return {
            "pooled": bool(mine),
            "past": total,
            "at_least": total - _below(self._trees[mine], index),
            "tail": {"start": start, "above": above, "scale": scale} if beyond else None,
        }


def _below(tree: Any, index: int) -> float:
    """Scores in the bins before ``index`` of a Fenwick tree."""
    found = 0.0
    while index > 0:
        found += float(tree[index])
        index -= index & -index
    return found


class Notes:
    """Watches one row go through the models.

    Args:
        scorer: that is about to score it, alone.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._past: dict[str, Past] = {}
        self._asked: dict[str, Plain] = {}
        self.counts: dict[str, tuple[float, float]] = {}
        self.since: dict[str, float | None] = {}
        self.weighed: Weighed | None = None

    def begin(self) -> None:
        """From now on the scorer is watched."""
        self._scorer.watch = self._before
        for model in self._scorer.models:
            memory = getattr(model, "memory", None)
            if memory is not None:
                memory.watch = self._note_of(model.name, memory)

    def end(self) -> None:
        """No more."""
        self._scorer.watch = lambda part, columns: None
        for model in self._scorer.models:
            memory = getattr(model, "memory", None)
            if memory is not None:
                memory.watch = None

    def _note_of(self, name: str, memory: Any) -> Any:
        def note(questions: backoff.Questions) -> None:
            if questions.asked.rows.size:
                chains, hours_ago = backoff.known(memory, questions)
                self._asked[name] = {
                    "chains": [[level._asdict() for level in levels] for levels in chains],
                    "relative": questions.relative,
                    "bonus": float(questions.bonus[0]),
                    "hours_since": None if math.isnan(hours_ago) else hours_ago,
                }

        return note

    def _before(self, part: Any, columns: Columns) -> None:
        now = int(columns["obs_ts"][0])
        if isinstance(part, Trust):
            self.since = part.known_since(columns)
            return
        if isinstance(part, Fusion):
            self.weighed = part.weigh(columns)
            self._past["fusion"] = Past(part.calibration, 0, now)
            return
        if isinstance(part, Structure):
            self.counts = part.look_up(columns)
        own = part.calibration if isinstance(part, Forest) else part.memory.calibration
        alone = isinstance(part, Vendors | Drip)  # all their rows are one stratum
        stratum = 0 if alone else int(columns["stratum"][0])
        self._past[part.name] = Past(own, stratum, now, fades=not isinstance(part, Drip))

    def models(self, row: Plain, scored: Columns) -> list[Plain]:
        """What each model that has something to say of the row says, and from which numbers; right after it was
        scored."""
        told = []
        for model in self._scorer.models:
            name = model.name
            if row[f"p_{name}"] < 1.0:
                score = float(row[SCORES[name]]) * (STRETCH if name == Drip.name else 1.0)
                past = self._past[name].judge(max(score, 0.0))
                few = name in _FEW and self._past[name].judge(0.0)["past"] < MIN_ROWS
                told.append(
                    {
                        "model": name,
                        "p_value": float(row[f"p_{name}"]),
                        "score": score,
                        "past": None if few else past,
                        "numbers": self._numbers(model, row, scored),
                    }
                )
        return told

    def merged(self, score: float) -> Plain:
        """How S becomes a p-value."""
        return self._past["fusion"].judge(score)

    def _numbers(self, model: Any, row: Plain, scored: Columns) -> Plain:
        numbers = dict(self._asked.get(model.name, {}))
        if isinstance(model, Structure):
            pair, last = self.counts["pair"]  # beside the hours is when the last of them began
            numbers |= {
                "counts": {name: list(pair) for name, pair in self.counts.items()} | {"pair": [pair, 0.0]},
                "last_hour": iso(int(last)) if pair else None,
                "forward": float(row["structure_forward"]),
                "reverse": float(row["structure_reverse"]),
                "bonus": float(row["bonus"]),
            }
        elif isinstance(model, Credentials):
            numbers |= self._credentials(model, row, scored)
        elif isinstance(model, Volume):
            what = int(row["volume_what"])
            numbers |= {"what": _WHATS[what], "seen": float(row["volume_seen"]), **model.usual(scored, what)}
        elif isinstance(model, Fanout):
            numbers |= {"targets": float(row["fanout_targets"]), **model.usual(scored)}
        elif isinstance(model, Windows):
            numbers |= {"hour": {name: list(pair) for name, pair in model.hour(scored).items()}}
            numbers |= {"furthest": FEATURES[int(row["window_feature"])]}
        elif isinstance(model, Drip):
            numbers |= {"spreads": float(row["drip"]), "times": float(row["drip_times"])}
        elif isinstance(model, Forest):
            names = [name for name in JOINED if f"p_{name}" in row]
            numbers |= {"p_values": {name: float(row[f"p_{name}"]) for name in names}}
        return numbers

    def _credentials(self, model: Credentials, row: Plain, scored: Columns) -> Plain:
        """What was done to the p-value of the account: a ticket is half the story, a move carries its host's log-on."""
        if row["user_id"]:
            return {"odds": TICKET_ODDS if row["service"] == "kerberos" else 1.0}
        p, targets = model.held(scored)
        return {"carried": {"p_value": p, "targets": targets}}

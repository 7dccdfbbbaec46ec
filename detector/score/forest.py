"""Forest: are so many surprises at once, so far out, themselves unusual?

Each other model looks at one thing. A connection that is a little new, at an hour that is a little late, by an account
that is a little out of place is nothing to any of them; together they may never have been. An isolation forest (Liu,
Ting, Zhou 2008; `paths`) says how soon random splits set a row apart from a sample of past rows. It sees how surprised
each of `JOINED` was, never the flow itself::

    x_j = max(ln ODD_P - ln p_j, 0)

An isolation forest cares for both sides: what is unusually ordinary is set apart too. Here all that is ordinary is 0,
and only rows are asked, and only such rows teach, that at least `ODD_OPINIONS` models count among the strangest
`ODD_P`. That is also what makes a combination, and what keeps the cost to the rows that are news. Splits are along one
opinion at a time, so how many came together and how far counts more than which.

The sample: of each stratum the `SAMPLE` rows with the smallest ``ln(-ln u) - ln w - g ln 2 / H``, ``u`` a hash of the
row's number, ``w`` its weight (`table.guard`: what looks like an attack enters seldom), ``g`` the forests so far. That
is weighted sampling without replacement (Efraimidis and Spirakis 2006, doi:10.1016/j.ipl.2005.11.003) with weights
that double each `HALF_LIFE` forests, which is the same as old ones that fade (Cormode et al. 2009,
doi:10.1109/ICDE.2009.65). Each stratum has its own places, so rare kinds are not crowded out.

A new forest is grown when the sample holds `FIRST_ROWS` rows and again each day (UTC), at a row: when rows of another
day than the last forest's lead by `TURN`, so that a misdated one turns nothing. Its randomness comes from its number.
Each row is judged by the forest and the scores before it, whatever the batch.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.calibration import Calibration
from detector.score.columns import Columns
from detector.score.model import Said
from detector.score.paths import Paths
from detector.score.table import guard
from detector.state.compiled import kernel
from detector.state.keys import finalize

JOINED: Final = ("structure", "operations", "credentials", "timing", "crossing", "provenance")
"""Models that look at the row itself; what counts a host's hours and days says nothing of which combination this is."""
ODD_P: Final = 0.1  # .2 finds as many and asks four times the rows
ODD_OPINIONS: Final = 2
SAMPLE: Final = 512  # rows a stratum; 2,048 find no more
HALF_LIFE: Final = 3.0  # forests, so days: Monday still knows Friday
FIRST_ROWS: Final = 512  # twice a tree's, so that trees differ
TURN: Final = 16  # more than a late record or two
TREES, TREE_ROWS = 100, 256  # the paper's; 512 rows find no more
STRETCH: Final = 64.0
"""Scores are in (0, 1); so they fill the histogram of `calibration`."""
_DAY_US: Final = 86_400_000_000
_NUMBER, _GROWN, _DAY, _VOTES = range(4)  # cells of ``clock``: rows asked, forests, the last one's day, rows of others
_NO_DAY: Final = -(1 << 40)  # of a forest that was grown elsewhere: its day is that of the first row here
_MOST_NATS: Final = 1e4  # of a surprise; the smallest p-value there is has 745
_PATHS: Final = "paths."


@kernel
def _key(number: Any, weight: Any, grown: Any) -> Any:
    """The smaller, the sooner a row is in the sample."""
    u = (np.float64(finalize(np.uint64(number)) >> np.uint64(11)) + 0.5) * 2.0**-53
    return np.log(-np.log(u)) - np.log(weight) - grown * np.log(2.0) / HALF_LIFE


@kernel
def _keep(sample: Any, stratum: Any, key: Any, vector: Any) -> None:
    """Put a row in the place of the one with the largest key, if its own is smaller."""
    rows, keys, worst = sample
    place = worst[stratum]
    if key < keys[stratum, place]:
        keys[stratum, place] = key
        for cell in range(vector.size):
            rows[stratum, place, cell] = vector[cell]
        worst[stratum] = np.argmax(keys[stratum])


@kernel
def _due(clock: Any, day: Any) -> Any:
    """Whether a forest is to be grown before this row."""
    if clock[_GROWN] == 0:
        return clock[_NUMBER] >= FIRST_ROWS
    if clock[_DAY] == _NO_DAY:
        clock[_DAY] = day
    clock[_VOTES] = clock[_VOTES] + 1 if day != clock[_DAY] else max(clock[_VOTES] - 1, 0)
    return clock[_VOTES] >= TURN


@kernel
def walk(
    columns: Any, vectors: Any, scores: Any, sample: Any, calibrated: Any, clock: Any, start: Any, out: Any
) -> Any:
    """Judge and learn rows from ``start`` on; returns the row before which a forest is to be grown, or their number."""
    strata, times, teaches = columns
    histograms, trees, totals, tails, since, faded = calibrated
    for row in range(start, times.size):
        day = times[row] // _DAY_US
        if _due(clock, day):
            clock[_GROWN] += 1
            clock[_DAY], clock[_VOTES] = day, 0
            return row
        p = 1.0
        if clock[_GROWN] > 0:
            calibration.fade(histograms, trees, totals, tails, faded, times[row])
            p = calibration.p_value(trees, totals, tails, strata[row], scores[row])
            calibration.learn(histograms, trees, totals, tails, since, strata[row], scores[row])
        out[row] = p
        clock[_NUMBER] += 1
        key = _key(clock[_NUMBER], guard(p, teaches[row]), clock[_GROWN])
        _keep(sample, strata[row], key, vectors[row])
    return times.size


def surprise(opinions: NDArray[np.float64]) -> NDArray[np.float32]:
    """What the trees see of p-values: nats beyond `ODD_P`, same shape."""
    beyond: NDArray[np.float64] = np.maximum(np.log(ODD_P) - np.log(opinions), 0.0)
    return beyond.astype(np.float32)


class Forest:
    """The model with its state.

    Args:
        strata: number of calibration strata.
        others: names of the models in the run; those of `JOINED` see a row before it does.
    """

    name: Final = "forest"

    def __init__(self, strata: int, others: Sequence[str]) -> None:
        self._opinions = [f"p_{name}" for name in JOINED if name in others]
        self.calibration = Calibration(strata)
        self.paths = Paths()
        self.rows = np.zeros((strata, SAMPLE, len(self._opinions)), dtype=np.float32)
        self._draws = np.full((strata, SAMPLE), np.inf)
        self._worst = np.zeros(strata, dtype=np.int64)
        self._clock = np.zeros(4, dtype=np.int64)

    def score(self, units: Columns) -> Said:
        """``p_forest``; ``forest`` (anomaly times `STRETCH`; 0 = not asked) and ``odd_opinions`` (models that found the
        row among their strangest `ODD_P`)."""
        odd = np.zeros(units.height)
        for name in self._opinions:
            odd += units[name] < ODD_P
        asked = np.flatnonzero(odd >= ODD_OPINIONS)
        scores, p = np.zeros(units.height), np.ones(units.height)
        if asked.size:
            opinions = np.stack([units[name][asked] for name in self._opinions], axis=1)
            scores[asked], p[asked] = self._answer(units, asked, surprise(opinions))
        return {"p_forest": p, "forest": scores, "odd_opinions": odd}

    def _answer(
        self, units: Columns, asked: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores and p-values of rows that are asked."""
        columns = units["stratum"][asked], units["obs_ts"][asked], units["teach"][asked]
        scores, p = np.zeros(len(vectors)), np.ones(len(vectors))
        calibrated, start = tuple(self.calibration.arrays().values()), 0
        while start < len(vectors):
            if self._clock[_GROWN]:
                scores[start:] = STRETCH * self.paths.score(vectors[start:])
            sample = self.rows, self._draws, self._worst
            start = walk(columns, vectors, scores, sample, calibrated, self._clock, start, p)
            if start < len(vectors):
                self._grow()
        return scores, p

    def _grow(self) -> None:
        from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - takes seconds; a start must be quick

        held = self.rows[np.isfinite(self._draws)]
        forest = IsolationForest(
            n_estimators=TREES, max_samples=min(TREE_ROWS, len(held)), random_state=int(self._clock[_GROWN])
        )
        self.paths = Paths.of(forest.fit(held))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts = {"calibration": self.calibration.arrays(), "paths": self.paths.arrays()}
        flat = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        sample = {"rows": self.rows.astype(np.float64), "draws": self._draws, "worst": self._worst}
        return {**flat, **sample, "clock": self._clock}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        for part, owner in (("calibration.", self.calibration), ("paths.", self.paths)):
            owner.load({name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)})
        own = {"rows": self.rows, "draws": self._draws, "worst": self._worst, "clock": self._clock}
        for name, array in own.items():
            array[...] = arrays[name]

    def portable(self) -> dict[str, NDArray[Any]]:
        """What another network can use: the trees, and the rows they are grown from, as if the forest were the first.
        Without a forest there is nothing."""
        grown = int(self._clock[_GROWN])
        if not grown:
            return {}
        draws = self._draws + (grown - 1) * np.log(2.0) / HALF_LIFE
        trees = {f"{_PATHS}{name}": array for name, array in self.paths.arrays().items()}
        return {"rows": self.rows.copy(), "draws": draws, **trees}

    def unfit(self, arrays: Mapping[str, NDArray[Any]]) -> str:
        """Why arrays are not what `portable` returns here; empty when they are."""
        wanted = {"rows", "draws", *(f"{_PATHS}{name}" for name in self.paths.arrays())}
        if not arrays:
            return ""
        if arrays.keys() != wanted:
            return f"its arrays are not {', '.join(sorted(wanted))}"
        for name, own in (("rows", self.rows), ("draws", self._draws)):
            if arrays[name].shape != own.shape or arrays[name].dtype != own.dtype:
                return f"{name} has another shape or type"
        if not ((arrays["rows"] >= 0) & (arrays["rows"] <= _MOST_NATS)).all():
            return "a row holds what is no surprise"
        if np.isnan(arrays["draws"]).any() or (arrays["draws"] == -np.inf).any():
            return "a row was drawn by what is no number"
        return self.paths.unfit(_below(arrays), len(self._opinions))

    def adopt(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Begin with what another network taught."""
        if not arrays:
            return
        self.rows[...], self._draws[...] = arrays["rows"], arrays["draws"]
        self._worst[...] = self._draws.argmax(axis=1)
        self.paths.load(_below(arrays))
        self._clock[[_GROWN, _DAY]] = 1, _NO_DAY


def _below(arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(_PATHS): array for name, array in arrays.items() if name.startswith(_PATHS)}

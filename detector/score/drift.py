"""Drift: has what is ordinary in a stratum become something else?

A conformal p-value of a row exchangeable with those before it has mean 1/2, whatever the scores are (`calibration`).
New software, a migration, a change of season of the plant move that mean for days; ADWIN (Bifet and Gavaldà, SDM 2007;
River's `ADWIN`) watches the hourly means of every model in every stratum and says when two parts of its window cannot
have the same mean. Then that model's calibration forgets most of what it knew of that stratum, and the new ordinary
becomes the yardstick in days, not weeks.

An intruder who wants to be forgotten so must shift the mean over all rows of a stratum for hours, in full view.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from river._river_rust.drift import AdaptiveWindowing

from detector.score.calibration import Calibration
from detector.score.columns import Columns
from detector.score.table import HOUR_US
from detector.state.compiled import kernel

MOST_FOUND: Final = 1000  # the newest are kept, for people to read
LOOK_HOURS: Final = 6  # hours between two looks; rows are scored in pieces that end with them
MIN_ROWS: Final = 32  # of a mean; hours with fewer rows are joined
DELTA: Final = 0.002  # the paper's and River's; of a false alarm at each look
HALVINGS: Final = 3  # an eighth of what was known stays: half would outvote the new for another week
_DEFAULTS: Final = {"max_buckets": 5, "min_window_length": 5, "grace_period": 10}  # as River's `ADWIN` has them
LONGEST: Final = 1440  # means kept and replayed: 60 days of hours; then the older half is dropped


@kernel
def add(opinions: Any, strata: Any, times: Any, running: Any) -> None:
    """Sum and count of p-values that say something, by model, stratum and hour since the last look."""
    for model in range(len(opinions)):
        own = opinions[model]
        for row in range(strata.size):
            if own[row] < 1.0:
                hour = times[row] // HOUR_US % LOOK_HOURS
                running[model, strata[row], hour, 0] += own[row]
                running[model, strata[row], hour, 1] += 1.0


class Window:
    """ADWIN over the means of one model in one stratum.

    River's ADWIN cannot be read, so what it holds is kept as the list of means since it began; one made from that list
    by replay goes on like the original. It is taken from below `river.drift`, which imports data sets, SciPy and
    scikit-learn: as much time as all else that a start imports.
    """

    def __init__(self, means: Sequence[float] = ()) -> None:
        self._begin(means)

    def _begin(self, means: Sequence[float]) -> None:
        self.means = list(means)
        self._adwin = AdaptiveWindowing(delta=DELTA, clock=1, **_DEFAULTS)
        for mean in self.means:
            self._adwin.update(mean)

    def changed(self, mean: float) -> bool:
        """Take the next mean; whether parts of the window differ now. If so it begins anew."""
        found = bool(self._adwin.update(mean))
        self.means.append(mean)
        if found or len(self.means) >= LONGEST:
            self._begin([] if found else self.means[LONGEST // 2 :])
        return found


class Drift:
    """All windows, and what ran up since the last look.

    Args:
        calibrations: of the models, by name.
        strata: of each.
    """

    def __init__(self, calibrations: Mapping[str, Calibration], strata: int) -> None:
        self.names = tuple(calibrations)
        self._calibrations = tuple(calibrations.values())
        self.windows: dict[tuple[int, int], Window] = {}
        self.found: list[tuple[int, int, int]] = []  # when, model, stratum
        self._running = np.zeros((len(self.names), strata, LOOK_HOURS, 2))  # sum of p-values, rows
        self._look = np.zeros(1, dtype=np.int64)

    def pieces(self, times: NDArray[np.int64], looking: Callable[[int], None]) -> Iterator[slice]:
        """Rows up to the next look, which happens between two pieces, and so on. What is late (µs of before the last
        look) belongs to the running piece. ``looking`` is called at each look, with when it is (µs)."""
        if times.size and times.max() < (self._look[0] + 1) * LOOK_HOURS * HOUR_US:  # most pieces are all rows
            yield slice(0, times.size)
            return
        looks = np.maximum.accumulate(np.concatenate([self._look, times // (LOOK_HOURS * HOUR_US)]))
        bounds = [0, *np.flatnonzero(np.diff(looks)).tolist(), times.size]
        for start, stop in itertools.pairwise(dict.fromkeys(bounds)):
            if looks[start + 1] > self._look[0]:
                self._compare()
                self._look[0] = looks[start + 1]
                looking(int(self._look[0]) * LOOK_HOURS * HOUR_US)
            yield slice(start, stop)

    def note(self, scored: Columns) -> None:
        """Take the models' p-values of one piece."""
        opinions = tuple(scored[f"p_{name}"] for name in self.names)
        add(opinions, scored["stratum"], scored["obs_ts"], self._running)

    def drifts(self) -> list[dict[str, Any]]:
        """What was found, the newest `MOST_FOUND`, in order: when (µs, the end of six hours), model, stratum."""
        return [{"ts": ts, "model": self.names[model], "stratum": stratum} for ts, model, stratum in self.found]

    def _compare(self) -> None:
        """Take the means of the hours since the last look; what is too few for a mean waits for more."""
        now = (int(self._look[0]) + 1) * LOOK_HOURS * HOUR_US
        for model, stratum in np.argwhere(self._running[:, :, :, 1].sum(axis=2) >= MIN_ROWS).tolist():
            window = self.windows.setdefault((model, stratum), Window())
            total, rows = 0.0, 0.0
            for part, more in self._running[model, stratum].tolist():
                total, rows = total + part, rows + more
                if rows < MIN_ROWS:
                    continue
                if window.changed(total / rows):
                    self.found = [*self.found, (now, model, stratum)][-MOST_FOUND:]
                    self._calibrations[model].halve(stratum, HALVINGS)
                total, rows = 0.0, 0.0
            self._running[model, stratum] = 0.0
            self._running[model, stratum, 0] = total, rows

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything, for a snapshot."""
        places = sorted(self.windows)
        means = [self.windows[place].means for place in places]
        return {
            "places": np.array(places, dtype=np.int64).reshape(-1, 2),
            "lengths": np.array([len(part) for part in means], dtype=np.int64),
            "means": np.array(list(itertools.chain(*means)), dtype=np.float64),
            "found": np.array(self.found, dtype=np.int64).reshape(-1, 3),
            "running": self._running,
            "look": self._look,
        }

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace everything by what `arrays` returned."""
        parts = np.split(arrays["means"], np.cumsum(arrays["lengths"])[:-1]) if arrays["lengths"].size else []
        places = [(model, stratum) for model, stratum in arrays["places"].tolist()]
        self.windows = {place: Window(part.tolist()) for place, part in zip(places, parts, strict=True)}
        self.found = [(ts, model, stratum) for ts, model, stratum in arrays["found"].tolist()]
        self._running[...], self._look[...] = arrays["running"], arrays["look"]

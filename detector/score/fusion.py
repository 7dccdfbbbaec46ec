"""From the models' p-values to one: by how many rows a day each model would call at least as strange.

p-values of different models are no common currency: one in a thousand of the log-ons is one row a day, one in a
thousand of the connections is a hundred. So each is turned into a rate,

    r_j = p_j n_jb / w_jb

with n_jb the rows a day of stratum b that model j is asked about, and w_jb the share of people's attention that they
get. The shares sum to 1, so rows with ``min r_j <= x`` come at most x times a day when nothing is wrong: this is the
p-value weighting of Genovese, Roeder and Wasserman (2006) over (model, stratum) groups, and holds whatever the
dependence between models. A row that several models find strange counts more than its strangest rate: with every r_j
the smallest of the *case*, what its two hosts did within an hour (the connection has no account, the log-on no file,
and all of them are one move), the evidence is

    S = sum_j max(ln(COMMON / max(r_j, RARE)), 0)

This is Fisher's sum of logarithms (1932) with truncation at both ends (Zaykin et al. 2002, doi:10.1002/gepi.0042): what
comes `COMMON` times a day is no news, and no model vouches for more than once in 1 / `RARE` days, which is as far as it
has seen. Fisher's distribution would need independent models; instead, what share of past rows had at least this S is
the merged p-value (`calibration`), so what is merged stays calibrated by what was seen, whatever the dependence.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.calibration import Calibration
from detector.score.columns import Columns
from detector.score.model import Said
from detector.score.table import tell
from detector.state.compiled import inlined, kernel
from detector.state.counts import AHEAD, Counts, find, soon_whole
from detector.state.keys import mix_all

COMMON: Final = 1000.0
"""A day; what comes that often is no news. Chosen on tuning plants (those of `scorer.ATTENTION`) among 30 to 3,000."""
RARE: Final = 0.05
"""A day; no model vouches for less. Chosen on the same plants: once a day to once in twenty days are alike there."""
DAY_US: Final = 86_400e6
CASE_US: Final = 3_600_000_000  # an hour, as long as a hop of a chain may take (`correlate.chains`)
EXPECTED_ODDS: Final = 20.0
"""What the plant file says happens here and now has to be so much rarer: the prior odds of a declared window,
as those of a crossing that nobody declared (`features.units.CROSSING_BONUS`), the other way."""
FEW_CASES: Final = 200.0
"""Until so many were learned the row's smallest rate speaks, over all rows: a capture of minutes has few cases."""
SMALLEST_P: Final = 1e-300
"""A tail far beyond all that was seen would become 0, which has no logarithm."""
COLUMNS: Final = ("fused", "p_value", "rows_per_day")
"""S, nats; p-value; rows in the last day that began a case or made it stranger, exponential window. A row that does
neither is judged by its own opinions alone."""


@kernel
def pass_time(rates: Any, last: Any, now: Any) -> Any:
    """Let the rows of the last day fade to ``now``; returns what is left of them."""
    left = 1.0
    if now > last[0]:
        if last[0] > 0.0:
            left = np.exp(-(now - last[0]) / DAY_US)
            rates *= left
        last[0] = now
    return left


@kernel
def shares(rates: Any, interest: Any) -> Any:
    """Sum of the interest in what is alive: what never speaks takes no attention. And the lowest rate of that: until it
    has faded below 1, or another one is alive, the sum stays as it is."""
    alive, lowest = 0.0, np.inf
    for model in range(interest.shape[0]):
        for stratum in range(interest.shape[1]):
            if rates[model, stratum] >= 1.0:
                alive += interest[model, stratum]
                lowest = min(lowest, rates[model, stratum])
    return alive, lowest


@kernel
def mark(opinions: Any, said: Any) -> None:
    """said <- whether any model has something to say of each row."""
    said[:] = False
    for model in range(opinions.shape[0]):
        for row in range(said.size):
            said[row] |= opinions[model, row] < 1.0


@kernel
def _speak(rates: Any, opinions: Any, row: Any, stratum: Any) -> Any:
    """Count the row for each model that has something to say of it; whether one of them was not alive (`shares`)."""
    woken = False
    for model in range(opinions.shape[0]):
        if opinions[model, row] < 1.0:
            woken |= rates[model, stratum] < 1.0
            rates[model, stratum] += 1.0
    return woken


@inlined
def _case(table: Any, used: Any, key: Any, now: Any) -> Any:
    """Slot of the case, and whether it begins now; its cells are when it began (µs) and each model's part of S."""
    keys, cells, last = table
    slot = find(keys, key)
    if keys[slot] == np.uint64(0):
        keys[slot] = key
        used[0] += 1
        last[slot] = now
        cells[slot, 0] = -np.inf
    fresh = abs(now - cells[slot, 0]) > CASE_US
    if fresh:
        cells[slot, :] = 0.0
        cells[slot, 0] = now
    last[slot] = max(last[slot], now)
    return slot, fresh


@kernel
def _conclude(out: Any, stranger: Any, rarest: Any, counts: Any, now: Any, calibrated: Any) -> None:
    """out <- p-value and rows a day; learns what began a case or made it stranger, from the second day on: before, rows
    a day are not known and every rate is too small."""
    histograms, trees, totals, tails, since, clock = calibrated
    if totals[0] < FEW_CASES:
        out[2] = max(counts[1], 1.0)
        out[1] = min(rarest / out[2], 1.0)
    else:
        out[2] = max(counts[0], 1.0)
        out[1] = calibration.p_value(trees, totals, tails, 0, out[0])
    out[1] = max(out[1], SMALLEST_P)
    if stranger:
        counts[0] += 1.0
        if now - clock[0] >= DAY_US:
            calibration.learn(histograms, trees, totals, tails, since, 0, out[0])


@kernel
def walk(
    rows: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    calibrated: Any,
    rates: Any,
    interest: Any,
    asked: Any,
    newcomers: Any,
    passed: Any,
    told: Any,
    start: Any,
    stop: Any,
    out: Any,
) -> Any:
    """Judge and learn rows ``start`` to ``stop`` in order; those of which no model has anything to say are left
    alone. Returns the row at which the table is full, or ``stop``.

    ``rates`` and ``interest`` have a row a model and a column a stratum; ``rates`` has one more row, of which cell 0
    counts the rows that began a case or made it stranger (only they are learned), cell 1 all that are judged.
    ``asked`` counts rows like ``rates``, for good; strata from ``newcomers`` on have to speak for themselves: a p-value
    borrowed from elsewhere is not believed further than their own number of rows can bear out.
    """
    opinions, said, pairs, strata, expected, times = rows
    histograms, trees, totals, tails, _, clock = calibrated
    models = interest.shape[0]
    alive, lowest = 0.0, 0.0
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        near = min(row + AHEAD, stop - 1)
        if said[near]:
            soon_whole(table, pairs[near])
        now, stratum = times[row], strata[row]
        calibration.fade(histograms, trees, totals, tails, clock, now)
        if not said[row]:
            out[0, row], out[1, row], out[2, row] = 0.0, 1.0, 1.0
            continue
        lowest *= pass_time(rates, passed, now)
        if _speak(rates, opinions, row, stratum) or lowest < 1.0:
            alive, lowest = shares(rates[:models], interest)
        slot, fresh = _case(table, used, pairs[row], now)
        case = table[1][slot]
        odds = EXPECTED_ODDS if expected[row] else 1.0
        own, stranger, rarest = 0.0, fresh, np.inf
        for model in range(models):
            if opinions[model, row] < 1.0:
                asked[model, stratum] += 1.0
                least = 1.0 / (asked[model, stratum] + 1.0) if stratum >= newcomers else 0.0
                rate = max(opinions[model, row], least) * rates[model, stratum] * alive / interest[model, stratum]
                nats = max(np.log(COMMON / max(rate * odds, RARE)), 0.0)
                own += nats
                rarest = min(rarest, rate * odds)
                if nats > case[1 + model]:
                    case[1 + model] = nats
                    stranger = True
        told[0] = case[1:].sum() if stranger else own
        rates[models, 1] += 1.0
        _conclude(told, stranger, rarest, rates[models], now, calibrated)
        tell(told, out, row)
    return stop


class Opinion(NamedTuple):
    """What becomes of one model's p-value.

    Attributes:
        least: the smallest that is believed (of newcomers), 0 = any.
        per_day: rows a day that the model is asked about in this stratum.
        share: of people's attention.
        odds: `EXPECTED_ODDS` or 1.
        rate: max(p, least) per_day / share, rows a day.
        nats: the part of S; ``held``: that of the case before this row.
    """

    model: str
    p: float
    least: float
    per_day: float
    share: float
    odds: float
    rate: float
    nats: float
    held: float


class Weighed(NamedTuple):
    """One row before it is merged.

    Attributes:
        began: when its case began, µs; None = with this row.
        stranger: rows a day that began a case or made it stranger.
        judged: rows a day that any model had something to say of, this one with them.
    """

    opinions: tuple[Opinion, ...]
    began: float | None
    stranger: float
    judged: float


class Fusion:
    """The merging with its state.

    Args:
        interest: by model, how much of the attention each of its strata deserves (any scale).
        newcomers: first of the strata of newcomers.
        max_entries: bound of the cases remembered; those seen longest ago go first.
    """

    def __init__(self, interest: Mapping[str, NDArray[np.float64]], newcomers: int, max_entries: int) -> None:
        self.names = tuple(interest)
        self._interest = np.stack(list(interest.values()))
        self.calibration = Calibration(1)
        self.rates = np.zeros((len(interest) + 1, self._interest.shape[1]))
        self.cases = Counts(max_entries, width=1 + len(interest))
        self.asked = np.zeros_like(self._interest)
        self._newcomers = newcomers
        self._passed = np.zeros(1)

    def judge(self, scored: Columns) -> Said:
        """Columns `COLUMNS` from the models' ``p_<name>``, ``stratum`` and ``obs_ts``."""
        opinions = np.stack([scored[f"p_{name}"] for name in self.names])
        pairs = mix_all(scored["orig_id"], scored["resp_id"])
        said = np.empty(scored.height, dtype=np.bool_)
        mark(opinions, said)
        rows = opinions, said, pairs, scored["stratum"], scored["expected"], scored["obs_ts"]
        out = np.empty((len(COLUMNS), scored.height))
        cases = self.cases
        calibrated = tuple(self.calibration.arrays().values())
        cases.walk(
            scored.height,
            1,
            lambda start, stop, table: walk(
                rows, table, cases.used, cases.max_entries, calibrated, self.rates, self._interest, self.asked,
                self._newcomers, self._passed, np.zeros(len(COLUMNS)),
                start, stop, out,
            ),
        )  # fmt: skip
        return dict(zip(COLUMNS, out, strict=True))

    def weigh(self, scored: Columns) -> Weighed:
        """What the first of these rows will be merged from; nothing is changed."""
        now, stratum = scored["obs_ts"][0], int(scored["stratum"][0])
        rates, passed, count = self.rates.copy(), self._passed.copy(), len(self.names)
        pass_time(rates, passed, now)
        opinions = {name: float(scored[f"p_{name}"][0]) for name in self.names}
        rates[:count, stratum] += [p < 1.0 for p in opinions.values()]
        alive = float(shares(rates[:count], self._interest)[0])
        keys, cells, _ = self.cases.table
        slot = find(keys, mix_all(scored["orig_id"][:1], scored["resp_id"][:1])[0])
        known = bool(keys[slot]) and abs(now - cells[slot, 0]) <= CASE_US
        odds = EXPECTED_ODDS if scored["expected"][0] else 1.0
        found = []
        for place, (name, p) in enumerate(opinions.items()):
            held = float(cells[slot, 1 + place]) if known else 0.0
            if p < 1.0 or held > 0.0:
                least = 1.0 / (self.asked[place, stratum] + 2.0) if stratum >= self._newcomers else 0.0
                per_day, share = float(rates[place, stratum]), float(self._interest[place, stratum]) / alive
                rate = max(p, least) * per_day / share
                nats = max(math.log(COMMON / max(rate * odds, RARE)), 0.0) if p < 1.0 else 0.0
                found.append(Opinion(name, p, float(least), per_day, share, odds, rate, nats, held))
        began = float(cells[slot, 0]) if known else None
        return Weighed(tuple(found), began, float(rates[count, 0]), float(rates[count, 1]) + 1.0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts = {"cases": self.cases.arrays(), "calibration": self.calibration.arrays()}
        flat = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return {**flat, "rates": self.rates, "asked": self.asked, "passed": self._passed}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        for part, owner in (("cases.", self.cases), ("calibration.", self.calibration)):
            owner.load({name.removeprefix(part): array for name, array in arrays.items() if name.startswith(part)})
        for name, own in (("rates", self.rates), ("asked", self.asked), ("passed", self._passed)):
            own[...] = arrays[name]

"""How much is usual? Counts of a time window, how they vary, and what recurs: shared by `volume` and `fanout`.

Gamma-Poisson with a gamma twice: rates differ between those who do the same, and between the windows of one of them.
With W windows of mean m and relative variance φ beyond Poisson, a new window is negative binomial (first two moments
matched)::

    N ~ NB(mean τ m, shape 1 / (φ + (1 + φ) / a)),   a = W m / (1 + φ m),   P(N >= n) = I_{m / (m + r)}(n, r)

For φ = 0 that is the textbook's a = total count, b = W. Whoever is new gets some windows of its group: the shape a0
that matches how much members of the group differ, in windows ``a0 (1 + φ m) / m``.

Surges that recur are remembered apart, by the power of two they reached: a backup each night or a scan each week is in
the tail of any such law and yet no news. What came as far on more than `HABIT_DAYS` days before has at least the
probability of its share of all surges.
"""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.beta import log_count_tail
from detector.score.table import HOUR_US, add, add_at, key_of, keys_of
from detector.state.compiled import kernel
from detector.state.counts import decayed, find, find_beside, soon
from detector.state.keys import Keys

NOISE: Final = 0.5
"""φ before it is known: the median over edges of simulated plants is 0.3, three of four have less than 0.53."""
NOISE_WINDOWS: Final = 8.0  # windows the first guess of φ counts for
LEAST_NOISE: Final = 0.05  # nothing is steadier than a fifth from window to window
GROUP_MIN: Final = 20.0  # windows before a group says what is usual
KNOWN: Final = 24.0  # windows after which the group has nothing to add
LEAST_SHAPE, MOST_SHAPE = 0.25, 4.0  # of a0: members of a group differ by half to twice their mean
HABIT_DAYS: Final = 2.0  # days on which a surge is news however often it came
DAY_US: Final = 72_000_000_000  # 20 hours: what comes each night may begin early
REMEMBERED: Final = 8  # powers of two of one surge: a backup of half the size, or of an eighth, is the same habit
_HALF_EVENT: Final = 0.5  # Jeffreys prior: what never happened in W windows is not impossible
_SURGE: Final = np.uint64(51)
_BLOCK: Final = np.uint64(0xFFFFFFFFFFFFFFF0)
_NEVER_ZERO: Final = np.uint64(8)


@kernel
def block(tag: Any, first: Any, second: Any, third: Any) -> Any:
    """Key of a block of eight: ``block + 0`` to ``+ 7`` have neighbouring slots, so reading one fetches the others."""
    return (key_of(tag, first, second, third) & _BLOCK) | _NEVER_ZERO


def blocks(tag: np.uint64, first: Keys, second: Keys, third: Keys) -> Keys:
    """`block` of every row."""
    return keys_of(tag, first, second, third) & _BLOCK | _NEVER_ZERO


@kernel
def recall(table: Any, key: Any, now: Any, half_life: Any, out: Any) -> None:
    """out <- windows, sum and sum of squares of what was learned under ``key`` (zeros when nothing was)."""
    keys, cells, last = table
    slot = find(keys, key)
    squares = find_beside(keys, slot, key + np.uint64(1))
    out[:] = 0.0
    if keys[slot] != np.uint64(0) and keys[squares] != np.uint64(0):
        fade = decayed(1.0, last[slot], now, half_life)
        out[0], out[1], out[2] = cells[slot, 0] * fade, cells[slot, 1] * fade, cells[squares, 0] * fade


@kernel
def learn(table: Any, used: Any, key: Any, value: Any, weight: Any, now: Any, half_life: Any) -> None:
    """One more window with ``value``."""
    add(table, used, key, weight, weight * value, now, half_life)
    add(table, used, key + np.uint64(1), weight * value * value, 0.0, now, half_life)


@kernel
def noise(own: Any) -> Any:
    """φ from a memory of windows, as `recall` gives it."""
    mean = own[1] / own[0] if own[0] > 0.0 else 0.0
    if mean <= 0.0:
        return NOISE
    beyond = max(own[2] / own[0] - mean * mean - mean, 0.0) / (mean * mean)
    return max((own[0] * beyond + NOISE_WINDOWS * NOISE) / (own[0] + NOISE_WINDOWS), LEAST_NOISE)


@kernel
def group_windows(group: Any) -> Any:
    """How many windows of its group somebody new is given: the prior of the Gamma by moment match."""
    mean = group[1] / group[0]
    if mean <= 0.0:
        return 1.0
    differ = (group[2] / group[0] - mean * mean - mean) / (mean * mean) - NOISE
    shape = min(max(1.0 / max(differ, 1.0 / MOST_SHAPE), LEAST_SHAPE), MOST_SHAPE)
    return shape * (1.0 + NOISE * mean) / mean


@kernel
def expect(own: Any, group: Any, out: Any) -> None:
    """out <- mean and gamma shape of a window's count, τ = 1; ``group`` without windows = it is not needed."""
    given = group_windows(group) if group[0] > 0.0 else 0.0
    windows = own[0] + given
    total = own[1] + _HALF_EVENT + (given * group[1] / group[0] if given > 0.0 else 0.0)
    spread = noise(own)
    mean = total / (windows if windows > 0.0 else 1.0)
    out[0] = mean
    out[1] = 1.0 / (spread + (1.0 + spread) * (1.0 + spread * mean) / total)


@kernel
def count_surprise(count: Any, mean: Any, shape: Any) -> Any:
    """-ln P(N >= count), nats."""
    return -log_count_tail(count, shape, mean)


@kernel
def p_value(trees: Any, totals: Any, tails: Any, stratum: Any, score: Any) -> Any:
    """Calibrated; while there are too few surges for that the law's own, with half the nats: it may be wrong."""
    if totals[-1] < calibration.MIN_ROWS:
        return math.exp(-score / 2.0)
    return calibration.p_value(trees, totals, tails, stratum, score)


@kernel
def power(value: Any) -> Any:
    """The largest k with 2^k <= value; 0 below 2."""
    return max(math.frexp(value)[1] - 1, 0)


@kernel
def surge_soon(keys: Any, who: Any, reached: Any) -> None:
    """What `recurring` and `remember` look at of a surge to 2^``reached`` will be wanted soon."""
    soon(keys, key_of(_SURGE, who, who, who))
    for below in range(REMEMBERED):
        if reached - below > 0:
            soon(keys, key_of(_SURGE, who, np.uint64(reached - below), who))


@kernel
def recurring(table: Any, who: Any, reached: Any, now: Any, half_life: Any) -> Any:
    """Surprise, in nats, of a surge to 2^``reached`` by how often one came as far before; infinity = it is news."""
    days = _days(table, key_of(_SURGE, who, np.uint64(reached), who), now, half_life) - HABIT_DAYS
    if days <= 0.0:
        return np.inf
    return -math.log(days / (_days(table, key_of(_SURGE, who, who, who), now, half_life) + 1.0))


@kernel
def goes_on(table: Any, who: Any, reached: Any, now: Any) -> Any:
    """Whether a surge came to 2^``reached`` less than an hour ago: this is the same one."""
    keys, _, last = table
    slot = find(keys, key_of(_SURGE, who, np.uint64(reached), who))
    return keys[slot] != np.uint64(0) and now - last[slot] < HOUR_US


@kernel
def _days(table: Any, key: Any, now: Any, half_life: Any) -> Any:
    keys, cells, last = table
    slot = find(keys, key)
    return decayed(cells[slot, 0], last[slot], now, half_life) if keys[slot] != np.uint64(0) else 0.0


@kernel
def remember(table: Any, used: Any, who: Any, usual: Any, reached: Any, now: Any, half_life: Any) -> None:
    """A surge to 2^``reached``, so also to the powers of two below it and above ``usual``, `REMEMBERED` in all; a day
    counts once, however often."""
    _count_day(table, used, key_of(_SURGE, who, who, who), now, half_life)
    for below in range(REMEMBERED):
        if reached - below > 0 and 2.0 ** (reached - below) > usual:
            _count_day(table, used, key_of(_SURGE, who, np.uint64(reached - below), who), now, half_life)


@kernel
def _count_day(table: Any, used: Any, key: Any, now: Any, half_life: Any) -> None:
    """Cells: days, and when the last one was counted (µs); ``last`` = when it was reached last."""
    keys, cells, _ = table
    slot = find(keys, key)
    counted = cells[slot, 1] if keys[slot] != np.uint64(0) else -np.inf
    news = now - counted >= DAY_US
    add_at(table, used, slot, key, 1.0 if news else 0.0, 0.0, now, half_life)
    cells[slot, 1] = now if news else counted


def usual(own: NDArray[np.float64], group: NDArray[np.float64]) -> dict[str, float]:
    """What is usual, by name: windows learned, sum and sum of squares of what they held, the same of the group (zeros
    when it is not needed); and of the next window's count the mean and the shape, τ = 1."""
    expected = np.zeros(3)
    expect(own, group, expected)
    names = ("windows", "sum", "squares", "group_windows", "group_sum", "group_squares", "mean", "shape")
    return dict(zip(names, [*own.tolist(), *group.tolist(), *expected[:2].tolist()], strict=True))

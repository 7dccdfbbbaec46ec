"""How likely is this symbol in this context? One kernel for every model that asks so.

Hierarchical Pitman-Yor (Teh 2006, doi:10.3115/1220175.1220299, with one table a dish = interpolated Kneser-Ney): a
chain of contexts from narrow to wide, each falling back on the next, the widest on a uniform choice among all symbols
seen::

    P_l(x) = [(c_l(x) - D)+ + (T + D k_l) P_{l+1}(x)] / (n_l + T)

The narrowest context counts hours (`table`); a wider one counts narrower contexts in which the symbol was seen at all,
so that one busy edge does not speak for its host. The score of a row is the sum over its chains of ``-ln P``, in nats,
plus the row's bonus while its first chain has not seen the symbol.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.columns import Part
from detector.score.memory import Memory
from detector.score.table import DISCOUNT, HOUR_US, add, guard, key_of, learn_hour, pitman_yor, read, repeats
from detector.state.compiled import kernel
from detector.state.counts import Table, find

_SYMBOL, _TOTAL, _ALL = np.uint64(21), np.uint64(22), np.uint64(23)

COLUMNS: Final = ("surprise", "p", "seen", "total", "distinct", "last_seen")
"""Nats; p-value; hours the symbol was seen in the first chain's narrowest context before, hours of that context,
distinct symbols in it; hours the last chain's symbol was seen in its narrowest context."""


@dataclass(frozen=True, slots=True)
class Questions:
    """What a walk reads; n rows are asked, C chains, L levels. Shapes: contexts (n, C, L) from narrow to wide, symbols
    (n, C), bonus (n,). ``relative``: see `walk`."""

    asked: Part
    contexts: NDArray[np.uint64]
    symbols: NDArray[np.uint64]
    bonus: NDArray[np.float64]
    relative: bool = False


@kernel
def _probability(
    table: Any, chain: Any, contexts: Any, symbol: Any, relative: Any, now: Any, half_life: Any, cells: Any
) -> Any:
    """P of the narrowest context, ``relative`` to that of the widest or not; ``cells`` <- its symbol's and its own
    counts."""
    read(table, key_of(_ALL, chain, chain, chain), now, half_life, cells[1])
    p = 1.0 / (cells[1, 1] + 1.0)
    widest = contexts.size - 1
    base = 1.0
    for level in range(widest, -1, -1):
        depth = np.uint64(level)
        read(table, key_of(_SYMBOL, chain ^ (depth << np.uint64(8)), contexts[level], symbol), now, half_life, cells[0])
        read(table, key_of(_TOTAL, chain ^ (depth << np.uint64(8)), contexts[level], chain), now, half_life, cells[1])
        p = pitman_yor(cells[0, 0], cells[1, 0], cells[1, 1], p)
        if level == widest and relative:
            base = p
    return p / base


@kernel
def _learn(
    table: Any, used: Any, chain: Any, contexts: Any, symbol: Any, weight: Any, now: Any, half_life: Any
) -> None:
    """The narrowest context counts the hour; each wider one only what is new to the one before."""
    for level in range(contexts.size):
        side = chain ^ (np.uint64(level) << np.uint64(8))
        key = key_of(_SYMBOL, side, contexts[level], symbol)
        if level == 0:
            new = learn_hour(table, used, key, weight, now, half_life)
        else:
            new = add(table, used, key, 1.0, 0.0, now, half_life)
        amount = weight if level == 0 else 1.0
        add(table, used, key_of(_TOTAL, side, contexts[level], chain), amount, 1.0 if new else 0.0, now, half_life)
        if not new:
            return
    everywhere = np.uint64(0xFF)
    if add(table, used, key_of(_SYMBOL, chain, everywhere, symbol), 1.0, 0.0, now, half_life):
        add(table, used, key_of(_ALL, chain, chain, chain), 1.0, 1.0, now, half_life)


@kernel
def walk(
    questions: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    calibrated: Any,
    half_life: Any,
    cells: Any,
    start: Any,
    stop: Any,
    out: Any,
) -> Any:
    """Score and learn what is asked of rows ``start`` to ``stop``; returns the row at which the table is full, or
    ``stop``. Time goes on with every row, asked or not.

    ``relative`` scores say how much less likely the symbol is here than in the widest context: what is rare
    everywhere is not strange for being rare here.
    """
    rows, contexts, symbols, strata, bonuses, teaches, relative, times = questions
    histograms, trees, totals, tails, since, clock = calibrated
    chains = symbols.shape[1]
    place = np.searchsorted(rows, start)
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        now = times[row]
        calibration.fade(histograms, trees, totals, tails, clock, now)
        if place == rows.size or rows[place] != row:
            continue
        at = place
        place += 1
        if repeats(table, key_of(_SYMBOL, np.uint64(0), contexts[at, 0, 0], symbols[at, 0]), now, clock[0]):
            continue
        score = 0.0
        for chain in range(chains - 1, -1, -1):
            score -= np.log(
                _probability(
                    table, np.uint64(chain), contexts[at, chain], symbols[at, chain], relative, now, half_life, cells
                )
            )
            if chain == chains - 1:
                out[5, row] = cells[0, 0]
        score += bonuses[at] if cells[0, 0] < DISCOUNT else 0.0
        score = max(score, 0.0)
        p = calibration.p_value(trees, totals, tails, strata[at], score)
        out[0, row], out[1, row], out[2, row] = score, p, cells[0, 0]
        out[3, row], out[4, row] = cells[1, 0], cells[1, 1]
        calibration.learn(histograms, trees, totals, tails, since, strata[at], score)
        weight = guard(p, teaches[at])
        for chain in range(chains):
            _learn(table, used, np.uint64(chain), contexts[at, chain], symbols[at, chain], weight, now, half_life)
    return stop


def answer(memory: Memory, questions: Questions, stratum: str | None = "stratum") -> NDArray[np.float64]:
    """Score then learn the rows that are asked, in order.

    Args:
        memory: of the model.
        questions: of these rows.
        stratum: column of the calibration's strata; None = all are one.

    Returns:
        Shape (len(COLUMNS), units): rows that are not asked, or repeat what was judged, have p-value 1 and zeros.
    """
    if memory.watch is not None:
        memory.watch(questions)
    asked = questions.asked
    units, rows = asked.units, asked.rows
    if not rows.size and not memory.counts.full:
        return _silent(memory, units["obs_ts"])
    out = _nothing(units.height)
    strata = np.zeros(rows.size, dtype=np.int64) if stratum is None else asked[stratum]
    columns = (
        rows, np.ascontiguousarray(questions.contexts), np.ascontiguousarray(questions.symbols), strata,
        questions.bonus, asked["teach"], questions.relative, units["obs_ts"],
    )  # fmt: skip
    memory.walk(
        units.height,
        lambda start, stop, table: walk(
            columns, table, memory.counts.used, memory.counts.max_entries, memory.calibrated,
            memory.half_life, np.zeros((2, 2)), start, stop, out,
        ),
    )  # fmt: skip
    return out


def _nothing(rows: int) -> NDArray[np.float64]:
    out = np.zeros((len(COLUMNS), rows))
    out[1] = 1.0
    return out


def _silent(memory: Memory, times: NDArray[np.int64]) -> NDArray[np.float64]:
    """Let time go on where no row is asked."""
    histograms, trees, totals, tails, _, clock = memory.calibrated
    calibration.fade_all(histograms, trees, totals, tails, clock, times)
    memory.counts.walk(0, 1, lambda start, stop, table: stop)  # nothing is dropped
    return _nothing(times.size)


class Level(NamedTuple):
    """What one context knew: hours (or narrower contexts) with the symbol, with any, distinct symbols; and P there."""

    symbol: float
    total: float
    distinct: float
    p: float


def known(memory: Memory, questions: Questions) -> tuple[list[list[Level]], float]:
    """What the first row that is asked is judged by, of each chain from the widest context to the narrowest, as it is
    before the answer; and the hours since the first chain's symbol was counted last, NaN when it never was."""
    table, now, half_life = memory.counts.table, questions.asked["obs_ts"][0], memory.half_life
    found = [
        _known(table, np.uint64(chain), contexts, questions.symbols[0, chain], now, half_life)
        for chain, contexts in enumerate(questions.contexts[0])
    ]
    symbol = _key(_SYMBOL, np.uint64(0), questions.contexts[0, 0, 0], questions.symbols[0, 0])
    slot = find(table[0], symbol)
    last = float(now - table[1][slot, 1]) / HOUR_US if table[0][slot] else float("nan")
    return found, last


def _known(table: Table, chain: Any, contexts: Any, symbol: Any, now: Any, half_life: float) -> list[Level]:
    cells, levels = np.zeros((2, 2)), []
    read(table, _key(_ALL, chain, chain, chain), now, half_life, cells[1])
    p = 1.0 / (cells[1, 1] + 1.0)
    for level in range(contexts.size - 1, -1, -1):
        side = chain ^ np.uint64(level << 8)
        read(table, _key(_SYMBOL, side, contexts[level], symbol), now, half_life, cells[0])
        read(table, _key(_TOTAL, side, contexts[level], chain), now, half_life, cells[1])
        p = pitman_yor(cells[0, 0], cells[1, 0], cells[1, 1], p)
        levels.append(Level(float(cells[0, 0]), float(cells[1, 0]), float(cells[1, 1]), float(p)))
    return levels


def _key(*parts: np.uint64) -> np.uint64:
    """`key_of` outside of kernels, from where Numba gives Python's integers."""
    return np.uint64(key_of(*parts))


def new_entries(chains: int, levels: int) -> int:
    """Most table entries one row can add."""
    return chains * (2 * levels + 2)

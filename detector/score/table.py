"""What all models do with a table of counts (`state.counts`): read, add, count hours, and the Pitman-Yor estimate.

Hours are counted, not rows: a panel that polls each second must not make everything else its host does look rare, and
an attacker must not buy normality with volume. So a row is judged and learned when the same was judged an hour ago or
more; what follows sooner is a repeat. While the history is younger than `SLOTS` hours the hour is a `SLOTS`-th of it:
minutes of a capture have to teach as well.
"""

from typing import Any, Final

import numpy as np

from detector.state.compiled import kernel
from detector.state.counts import decayed, find
from detector.state.keys import Keys, mix

DISCOUNT: Final = 0.7
STRENGTH: Final = 1.0
GUARD_P: Final = 0.01  # rows stranger than this are learned with weight p / GUARD_P, at least GUARD_FLOOR
GUARD_FLOOR: Final = 0.25
HOUR_US: Final = 3_600_000_000
SLOTS: Final = 32  # parts of a young history that count as hours: enough to tell a habit from a single event
SHORTEST_US: Final = 1_000_000


@kernel
def key_of(tag: Any, first: Any, second: Any, third: Any) -> Any:
    """Key of an entry: what it counts, and for whom."""
    return mix(mix(mix(tag, first), second), third)


@kernel
def _keys_of(tag: Any, firsts: Any, seconds: Any, thirds: Any, out: Any) -> None:
    for row in range(out.size):
        out[row] = key_of(tag, firsts[row], seconds[row], thirds[row])


def keys_of(tag: np.uint64, firsts: Keys, seconds: Keys, thirds: Keys) -> Keys:
    """`key_of` of every row. A walk wants a key twice, when it asks for the entry ahead and when it looks at it; and a
    loop that does nothing else makes several at a time."""
    keys = np.empty_like(firsts)
    _keys_of(tag, firsts, seconds, thirds, keys)
    return keys


@kernel
def read(table: Any, key: Any, now: Any, half_life: Any, out: Any) -> Any:
    """out <- decayed weight and distinct of ``key`` (zeros when absent)."""
    keys, cells, last = table
    slot = find(keys, key)
    if keys[slot] == np.uint64(0):
        out[0] = 0.0
        out[1] = 0.0
        return False
    left = decayed(1.0, last[slot], now, half_life)
    out[0] = cells[slot, 0] * left
    out[1] = cells[slot, 1] * left
    return True


@kernel
def add(table: Any, used: Any, key: Any, weight: Any, distinct: Any, now: Any, half_life: Any) -> Any:
    """Add to the entry of ``key``; True when the entry is new."""
    return add_at(table, used, find(table[0], key), key, weight, distinct, now, half_life)


@kernel
def add_at(table: Any, used: Any, slot: Any, key: Any, weight: Any, distinct: Any, now: Any, half_life: Any) -> Any:
    """`add` where the slot is known."""
    keys, cells, last = table
    new = keys[slot] == np.uint64(0)
    if new:
        keys[slot] = key
        used[0] += 1
        last[slot] = now
    left = decayed(1.0, last[slot], now, half_life)
    cells[slot, 0] = cells[slot, 0] * left + weight
    cells[slot, 1] = cells[slot, 1] * left + distinct
    last[slot] = max(last[slot], now)
    return new


@kernel
def repeats(table: Any, key: Any, now: Any, began: Any) -> Any:
    """Whether ``key`` was judged (`learn_hour`) less than an hour ago (early: a `SLOTS`-th of the history)."""
    keys, cells, _ = table
    slot = find(keys, key)
    pause = min(max((now - began) / SLOTS, SHORTEST_US), HOUR_US)
    return keys[slot] != np.uint64(0) and now - cells[slot, 1] < pause


@kernel
def learn_hour(table: Any, used: Any, key: Any, weight: Any, now: Any, half_life: Any) -> Any:
    """One more hour of ``key``; the second cell keeps when it began (µs). True when the entry is new."""
    slot = find(table[0], key)
    new = add_at(table, used, slot, key, weight, 0.0, now, half_life)
    table[1][slot, 1] = now
    return new


@kernel
def pitman_yor(count: Any, total: Any, distinct: Any, base: Any) -> Any:
    """P(symbol | context) from the context's counts, backing off to ``base``."""
    return (max(count - DISCOUNT, 0.0) + (STRENGTH + DISCOUNT * distinct) * base) / (total + STRENGTH)


@kernel
def guard(p: Any, teaches: Any) -> Any:
    """With what weight a row is learned: what looks like an attack teaches little until it recurs."""
    return 1.0 if teaches else min(1.0, max(p / GUARD_P, GUARD_FLOOR))


@kernel
def tell(told: Any, out: Any, row: Any) -> None:
    """Write what is told of a row into its columns."""
    for column in range(told.size):
        out[column, row] = told[column]

"""The structure model: how unlikely is it that this host talks to that one in this way?

Two-level Pitman-Yor (interpolated Kneser-Ney) with role back-off, both directions (Sanna Passino and Heard 2019,
doi:10.3934/fods.2019013)::

    P(d,k|s) = [(c_sdk - D)+ + (T + D k_s) P_g(d,k|g(s))] / (n_s + T)
    P_g(d,k) = [(m_gdk - D)+ + (T + D K_g) P_r(d,k)    ] / (M_g + T)
    P_r(d,k) = Q(g(d),k|g(s)) R(d|g(d),k)

``k`` is the service or operation token, ``c`` (decayed) hours in which the pair did it, ``m`` distinct sources
of a role, ``Q`` and ``R``
Dirichlet-multinomials over distinct pairs; the reverse direction swaps s and d. The score is the sum of both
surprisals, ``-ln P(d,k|s) - ln P(s,k|d)``, in nats, plus the row's bonus when the pair never did this before.

Hours are counted, not rows: a panel that polls each second must not make everything else its host does look rare, and
an attacker must not buy normality with volume. So a row is judged and learned when its pair did this last an hour ago
or more; what follows sooner is a repeat with p-value 1. While the history is younger than `SLOTS` hours the hour is a
`SLOTS`-th of it: minutes of a capture have to teach as well.

A role is learned, no labels needed: the host's zone and the service that most distinct clients use it for (majority
vote in constant space, Boyer and Moore 1981).

Rows are walked in order, score then learn, so the result for a row does not depend on the batch it came in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.calibration import Calibration
from detector.state.compiled import kernel
from detector.state.counts import Counts, decayed, find
from detector.state.keys import mix, text_keys

DISCOUNT: Final = 0.7
STRENGTH: Final = 1.0
DIRICHLET: Final = 0.05
ROLE_MIN_CLIENTS: Final = 3  # distinct clients before a host counts as a server of something
GUARD_P: Final = 0.01  # rows stranger than this are learned with weight p / GUARD_P, at least GUARD_FLOOR
GUARD_FLOOR: Final = 0.1
HOUR_US: Final = 3_600_000_000
SLOTS: Final = 32  # parts of a young history that count as hours: enough to tell a habit from a single event
SHORTEST_US: Final = 1_000_000
_NEW_ENTRIES: Final = 20  # most table entries one row can add
_CHUNK: Final = 1 << 13  # rows walked between two looks at the table's room

# What a table entry counts; mixed into its key.
_PAIR, _ORIG, _RESP, _ROLE_OF = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_G_FWD, _G_FWD_SUM, _G_REV, _G_REV_SUM = np.uint64(5), np.uint64(6), np.uint64(7), np.uint64(8)
_Q, _Q_FWD_SUM, _Q_REV_SUM = np.uint64(9), np.uint64(10), np.uint64(11)
_R_IN, _R_IN_SUM, _R_OUT, _R_OUT_SUM, _HOSTS = (np.uint64(tag) for tag in range(12, 17))

COLUMNS: Final = (
    "structure_forward",  # -ln P(d,k|s), nats
    "structure_reverse",  # -ln P(s,k|d), nats
    "score",  # what is calibrated, nats
    "p_value",
    "seen",  # hours in which (s,d,k) was seen before, decayed
    "orig_rows",  # such hours of s over all its (d,k)
    "orig_pairs",  # distinct (d,k) of s before
    "role_sources",  # distinct hosts of s's role that did this to d before
    "resp_rows",
    "resp_pairs",
    "weight",  # of the p-value: how much of the attention its stratum gets for each of its rows
    "rows_per_day",  # rows in the last day, exponential window
    "hosts",  # distinct hosts inside seen before
)


@dataclass(frozen=True, slots=True)
class Units:
    """What one walk reads, one entry a row: 64-bit keys of both hosts, their zones and the token, and the rest."""

    orig: NDArray[np.uint64]
    resp: NDArray[np.uint64]
    orig_zone: NDArray[np.uint64]
    resp_zone: NDArray[np.uint64]
    token: NDArray[np.uint64]
    kind: NDArray[np.int64]
    stratum: NDArray[np.int64]
    bonus: NDArray[np.float64]
    time: NDArray[np.int64]
    teach: NDArray[np.bool_]


def units_of(units: pl.DataFrame) -> Units:
    """The columns the structure model walks, from enriched units in scoring order; ``teach`` says which only teach."""
    token = pl.concat_str(
        pl.col("kind").cast(pl.String), pl.col("service"), pl.col("operation").fill_null(""), separator=" "
    )
    return Units(
        orig=text_keys(units["orig_key"]),
        resp=text_keys(units["resp_key"]),
        orig_zone=text_keys(units["orig_zone"]),
        resp_zone=text_keys(units["resp_zone"]),
        token=text_keys(units.select(token.alias("token"))["token"]),
        kind=units["kind"].cast(pl.Int64).to_numpy(),
        stratum=units["stratum"].cast(pl.Int64).to_numpy(),
        bonus=units["bonus"].to_numpy(),
        time=units["obs_ts"].to_numpy(),
        teach=units["teach"].to_numpy(),
    )


@kernel
def _key(tag: Any, first: Any, second: Any, third: Any) -> Any:
    return mix(mix(mix(tag, first), second), third)


@kernel
def _read(table: Any, key: Any, now: Any, half_life: Any, out: Any) -> Any:
    """out <- decayed weight and distinct of ``key`` (zeros when absent)."""
    keys, cells, last = table
    slot = find(keys, key)
    if keys[slot] == np.uint64(0):
        out[0] = 0.0
        out[1] = 0.0
        return False
    out[0] = decayed(cells[slot, 0], last[slot], now, half_life)
    out[1] = decayed(cells[slot, 1], last[slot], now, half_life)
    return True


@kernel
def _add(table: Any, used: Any, key: Any, weight: Any, distinct: Any, now: Any, half_life: Any) -> Any:
    """Add to the entry of ``key``; True when the entry is new."""
    keys, cells, last = table
    slot = find(keys, key)
    new = keys[slot] == np.uint64(0)
    if new:
        keys[slot] = key
        used[0] += 1
        last[slot] = now
    cells[slot, 0] = decayed(cells[slot, 0], last[slot], now, half_life) + weight
    cells[slot, 1] = decayed(cells[slot, 1], last[slot], now, half_life) + distinct
    last[slot] = max(last[slot], now)
    return new


@kernel
def _repeats(table: Any, key: Any, now: Any, began: Any) -> Any:
    """Whether the pair of ``key`` was judged less than an hour (early: a `SLOTS`-th of the history) ago, or later."""
    keys, cells, _ = table
    slot = find(keys, key)
    pause = min(max((now - began) / SLOTS, SHORTEST_US), HOUR_US)
    return keys[slot] != np.uint64(0) and now - cells[slot, 1] < pause


@kernel
def _learn_hour(table: Any, used: Any, key: Any, weight: Any, now: Any, half_life: Any) -> Any:
    """One more hour of a pair; the second cell keeps when it began (µs). True when the pair is new."""
    new = _add(table, used, key, weight, 0.0, now, half_life)
    table[1][find(table[0], key), 1] = now
    return new


@kernel
def _role(table: Any, host: Any, zone: Any) -> Any:
    """Role key of a host: its zone, and what it serves if it serves something."""
    keys, cells, _ = table
    slot = find(keys, mix(_ROLE_OF, host))
    if keys[slot] == np.uint64(0) or cells[slot, 0] < ROLE_MIN_CLIENTS:
        return zone
    return mix(zone, np.uint64(cells[slot, 1]))


@kernel
def _vote(table: Any, used: Any, host: Any, token: Any, now: Any) -> None:
    """One more distinct client used ``token`` on ``host``: Boyer-Moore vote (weight = lead, distinct = candidate)."""
    keys, cells, last = table
    key = mix(_ROLE_OF, host)
    slot = find(keys, key)
    candidate = np.float64(token & np.uint64(0xFFFFFFFF))  # 32 bits are exact in a float
    if keys[slot] == np.uint64(0):
        keys[slot] = key
        used[0] += 1
        cells[slot, 0] = 0.0
    if cells[slot, 0] <= 0.0:
        cells[slot, 1] = candidate
    cells[slot, 0] += 1.0 if cells[slot, 1] == candidate else -1.0
    last[slot] = now


@kernel
def _base(q: Any, q_sum: Any, r: Any, r_sum: Any, hosts: Any) -> Any:
    """P_r: role pair and token, then the host within its role; one more category stands for the unseen."""
    role_pair = (q[0] + DIRICHLET) / (q_sum[0] + DIRICHLET * (q_sum[1] + 1.0))
    host = (r[0] + DIRICHLET) / (r_sum[0] + DIRICHLET * (hosts[0] + 1.0))
    return role_pair * host


@kernel
def _pitman_yor(count: Any, total: Any, distinct: Any, base: Any) -> Any:
    return (max(count - DISCOUNT, 0.0) + (STRENGTH + DISCOUNT * distinct) * base) / (total + STRENGTH)


@kernel
def _learn_pair(
    table: Any, used: Any, s: Any, d: Any, gs: Any, gd: Any, token: Any, kind: Any, now: Any, half_life: Any
) -> None:
    """A pair did this for the first time: the role levels count distinct pairs, not rows (Kneser-Ney)."""
    h = half_life
    new = _add(table, used, _key(_G_FWD, gs, d, token), 1.0, 0.0, now, h)
    _add(table, used, _key(_G_FWD_SUM, gs, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    new = _add(table, used, _key(_G_REV, gd, s, token), 1.0, 0.0, now, h)
    _add(table, used, _key(_G_REV_SUM, gd, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    new = _add(table, used, _key(_Q, gs, gd, token), 1.0, 0.0, now, h)
    _add(table, used, _key(_Q_FWD_SUM, gs, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    _add(table, used, _key(_Q_REV_SUM, gd, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    _add(table, used, _key(_R_IN, d, token, token), 1.0, 0.0, now, h)
    _add(table, used, _key(_R_IN_SUM, gd, token, token), 1.0, 0.0, now, h)
    _add(table, used, _key(_R_OUT, s, token, token), 1.0, 0.0, now, h)
    _add(table, used, _key(_R_OUT_SUM, gs, token, token), 1.0, 0.0, now, h)


@kernel
def _count_host(table: Any, used: Any, host: Any, role: Any, now: Any, half_life: Any) -> Any:
    """Each host counts once, in the role it has when first met; True when it is new."""
    new = _add(table, used, mix(_HOSTS, host), 1.0, 0.0, now, half_life)
    if new:
        _add(table, used, _key(_HOSTS, role, role, role), 1.0, 0.0, now, half_life)
    return new


@kernel
def _pass_time(rates: Any, clock: Any, now: Any, day: Any) -> Any:
    """Let the rows of the last day fade to ``now``; returns them over all strata, at least 1."""
    if now > clock[2]:
        if clock[2] > 0.0:
            rates *= np.exp(-(now - clock[2]) / day)
        clock[2] = now
    return max(rates.sum(), 1.0)


@kernel
def _weight(rates: Any, interest: Any, stratum: Any, per_day: Any) -> Any:
    """p-value weight (Genovese, Roeder, Wasserman 2006): attention goes to strata by interest, not by how much
    they talk.

    Rows of a stratum share its part of the attention, so weights average 1 over rows and the weighted p stays a p.
    """
    alive = 0.0
    for other in range(rates.size):
        if rates[other] >= 1.0 or other == stratum:
            alive += interest[other]
    return interest[stratum] / alive * per_day / max(rates[stratum], 1.0)


@kernel
def walk(
    units: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    calibrated: Any,
    rates: Any,
    interest: Any,
    half_life: Any,
    day: Any,
    outside: Any,
    start: Any,
    stop: Any,
    out: Any,
) -> Any:
    """Score and learn rows ``start`` to ``stop`` in order into ``out``; returns the row at which the table is
    full, or ``stop``.

    Longer than most functions here because it is one loop body with the per-row buffers in registers.
    """
    origs, resps, orig_zones, resp_zones, tokens, kinds, strata, bonuses, times, teaches = units
    histograms, trees, totals, tails, since, clock = calibrated
    b = np.zeros((16, 2))
    pair, orig, resp, g_f, g_fs, g_r, g_rs, q = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
    q_f, q_r, r_i, r_is, r_o, r_os, n_s, n_d = b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        now, kind = times[row], np.uint64(kinds[row])
        s, d, token = origs[row], resps[row], tokens[row]
        gs, gd = _role(table, s, orig_zones[row]), _role(table, d, resp_zones[row])
        calibration.fade(histograms, trees, totals, tails, clock, now)
        pair_key = _key(_PAIR, s, d, token)
        if _repeats(table, pair_key, now, clock[0]):
            out[row, :] = 0.0
            out[row, 3] = out[row, 4] = out[row, 10] = out[row, 11] = 1.0
            continue
        _read(table, pair_key, now, half_life, pair)
        _read(table, _key(_ORIG, s, kind, kind), now, half_life, orig)
        _read(table, _key(_RESP, d, kind, kind), now, half_life, resp)
        _read(table, _key(_G_FWD, gs, d, token), now, half_life, g_f)
        _read(table, _key(_G_FWD_SUM, gs, kind, kind), now, half_life, g_fs)
        _read(table, _key(_G_REV, gd, s, token), now, half_life, g_r)
        _read(table, _key(_G_REV_SUM, gd, kind, kind), now, half_life, g_rs)
        _read(table, _key(_Q, gs, gd, token), now, half_life, q)
        _read(table, _key(_Q_FWD_SUM, gs, kind, kind), now, half_life, q_f)
        _read(table, _key(_Q_REV_SUM, gd, kind, kind), now, half_life, q_r)
        _read(table, _key(_R_IN, d, token, token), now, half_life, r_i)
        _read(table, _key(_R_IN_SUM, gd, token, token), now, half_life, r_is)
        _read(table, _key(_R_OUT, s, token, token), now, half_life, r_o)
        _read(table, _key(_R_OUT_SUM, gs, token, token), now, half_life, r_os)
        _read(table, _key(_HOSTS, gs, gs, gs), now, half_life, n_s)
        _read(table, _key(_HOSTS, gd, gd, gd), now, half_life, n_d)

        forward = _pitman_yor(g_f[0], g_fs[0], g_fs[1], _base(q, q_f, r_i, r_is, n_d))
        reverse = _pitman_yor(g_r[0], g_rs[0], g_rs[1], _base(q, q_r, r_o, r_os, n_s))
        forward = 0.0 - np.log(_pitman_yor(pair[0], orig[0], orig[1], forward))
        reverse = 0.0 - np.log(_pitman_yor(pair[0], resp[0], resp[1], reverse))
        first = pair[0] < DISCOUNT
        score = forward + reverse + (bonuses[row] if first else 0.0)
        p = calibration.p_value(trees, totals, tails, strata[row], score)
        per_day = _pass_time(rates, clock, now, day)

        out[row, 0], out[row, 1], out[row, 2], out[row, 3] = forward, reverse, score, p
        out[row, 4], out[row, 5], out[row, 6], out[row, 7] = pair[0], orig[0], orig[1], g_f[0]
        out[row, 8], out[row, 9], out[row, 10] = (
            resp[0],
            resp[1],
            _weight(rates, interest, strata[row], per_day),
        )
        out[row, 11], out[row, 12] = per_day, clock[3]

        rates[strata[row]] += 1.0
        calibration.learn(histograms, trees, totals, tails, since, strata[row], score)
        weight = 1.0 if teaches[row] else min(1.0, max(p / GUARD_P, GUARD_FLOOR))
        new = _learn_hour(table, used, pair_key, weight, now, half_life)
        _add(table, used, _key(_ORIG, s, kind, kind), weight, 1.0 if new else 0.0, now, half_life)
        _add(table, used, _key(_RESP, d, kind, kind), weight, 1.0 if new else 0.0, now, half_life)
        if new:
            if _count_host(table, used, s, gs, now, half_life) and orig_zones[row] != outside:
                clock[3] += 1.0
            if _count_host(table, used, d, gd, now, half_life) and resp_zones[row] != outside:
                clock[3] += 1.0
            _learn_pair(table, used, s, d, gs, gd, token, kind, now, half_life)
            if kind == np.uint64(0):
                _vote(table, used, d, token, now)
    return stop


class Structure:
    """The model with its state.

    Args:
        interest: of each calibration stratum, how much of the attention it deserves (any scale).
        outside: key of the zone whose hosts are not counted as inside.
        max_entries: bound of the count table (32 bytes an entry).
        half_life_days: forgetting; detection practice is 30 days for IT.
    """

    def __init__(self, interest: Sequence[float], outside: np.uint64, max_entries: int, half_life_days: float) -> None:
        self.counts = Counts(max_entries)
        self.calibration = Calibration(len(interest))
        self.rates = np.zeros(len(interest))  # rows of each stratum in the last day, exponential window
        self._interest = np.array(interest, dtype=np.float64)
        self._outside = outside
        self._day = 86_400e6
        self._half_life = half_life_days * self._day

    def score(self, units: Units) -> pl.DataFrame:
        """Score then learn each row in order. Returns the columns of `COLUMNS`, float64."""
        count = units.orig.size
        out = np.empty((count, len(COLUMNS)))
        start = 0
        while start < count:
            stop = min(start + _CHUNK, count)
            self.counts.reserve(_NEW_ENTRIES * (stop - start))
            start = self._walk(units, start, stop, out)
            if start < stop:
                self.counts.evict()
        return pl.DataFrame({name: out[:, index] for index, name in enumerate(COLUMNS)})

    def _walk(self, units: Units, start: int, stop: int, out: NDArray[np.float64]) -> int:
        table = self.counts.keys, self.counts.cells, self.counts.last
        columns = tuple(getattr(units, name) for name in Units.__dataclass_fields__)
        row: int = walk(
            columns, table, self.counts.used, self.counts.max_entries, tuple(self.calibration.arrays().values()),
            self.rates, self._interest, self._half_life, self._day, self._outside, start, stop, out,
        )  # fmt: skip
        return row

    @property
    def began(self) -> float:
        """Time of the first row ever seen, µs; 0 when there was none."""
        return float(self.calibration.clock[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts = {"counts": self.counts.arrays(), "calibration": self.calibration.arrays()}
        flat = {f"{part}.{name}": array for part, arrays in parts.items() for name, array in arrays.items()}
        return {**flat, "rates": self.rates}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        for part in (self.counts, self.calibration):
            prefix = "counts." if part is self.counts else "calibration."
            part.load({name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)})
        self.rates[:] = arrays["rates"]

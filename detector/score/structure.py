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

Hours are counted, not rows (`table`): a row is judged and learned when its pair did this last an hour ago or more;
what follows sooner is a repeat with p-value 1.

A role is learned, no labels needed: the host's zone and the service that most distinct clients use it for (majority
vote in constant space, Boyer and Moore 1981).

Rows are walked in order, score then learn, so the result for a row does not depend on the batch it came in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.score import calibration
from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.model import Said
from detector.score.table import DISCOUNT, add, guard, key_of, keys_of, learn_hour, pitman_yor, read, repeats
from detector.state.compiled import kernel
from detector.state.counts import AHEAD, find, soon
from detector.state.keys import mix, mix_all

DIRICHLET: Final = 0.05
ROLE_MIN_CLIENTS: Final = 3  # distinct clients before a host counts as a server of something
_DAY_US: Final = 86_400e6
_NEW_ENTRIES: Final = 20  # most table entries one row can add

# What a table entry counts; mixed into its key.
_PAIR, _ORIG, _RESP, _ROLE_OF = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_G_FWD, _G_FWD_SUM, _G_REV, _G_REV_SUM = np.uint64(5), np.uint64(6), np.uint64(7), np.uint64(8)
_Q, _Q_FWD_SUM, _Q_REV_SUM = np.uint64(9), np.uint64(10), np.uint64(11)
_R_IN, _R_IN_SUM, _R_OUT, _R_OUT_SUM, _HOSTS = (np.uint64(tag) for tag in range(12, 17))

COLUMNS: Final = (
    "structure_forward",  # -ln P(d,k|s), nats
    "structure_reverse",  # -ln P(s,k|d), nats
    "structure",  # the sum of both and the bonus: what is calibrated, nats
    "p_structure",
    "seen",  # hours in which (s,d,k) was seen before, decayed
    "orig_rows",  # such hours of s over all its (d,k)
    "orig_pairs",  # distinct (d,k) of s before
    "role_sources",  # distinct hosts of s's role that did this to d before
    "resp_rows",
    "resp_pairs",
    "hosts",  # distinct hosts inside seen before
    "history",  # days since the first row
)
LOOKED_UP: Final = (
    "pair",  # (s,d,k): hours
    "orig",  # s over all its (d,k): hours, distinct
    "resp",
    "role_orig",  # g(s) to (d,k): distinct sources
    "role_orig_all",  # g(s) over all: of them, distinct (d,k)
    "role_resp",
    "role_resp_all",
    "roles",  # g(s) to g(d) by k: distinct pairs
    "roles_orig_all",
    "roles_resp_all",
    "resp_in_role",  # d among those of g(d) by k: distinct pairs
    "resp_in_role_all",
    "orig_in_role",
    "orig_in_role_all",
    "orig_role_hosts",  # hosts of g(s)
    "resp_role_hosts",
)
"""What a score is made of, by what was counted; the letters are those of the formula above."""


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


def units_of(units: Columns) -> Units:
    """The columns the structure model walks, from enriched units in scoring order; ``teach`` says which only teach."""
    return Units(
        orig=units["orig_id"],
        resp=units["resp_id"],
        orig_zone=units["orig_zone_id"],
        resp_zone=units["resp_zone_id"],
        token=units["token_id"],
        kind=units["kind"],
        stratum=units["stratum"],
        bonus=units["bonus"],
        time=units["obs_ts"],
        teach=units["teach"],
    )


@kernel
def _role(table: Any, key: Any, zone: Any) -> Any:
    """Role key of a host, by the key of its role's entry: its zone, and what it serves if it serves something."""
    keys, cells, _ = table
    slot = find(keys, key)
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
def _look_up(
    table: Any, s: Any, d: Any, gs: Any, gd: Any, token: Any, kind: Any, now: Any, half_life: Any, found: Any
) -> None:
    """found <- what a row is judged by, weight and distinct each, in the order of `LOOKED_UP`."""
    pair, orig, resp, g_f, g_fs, g_r, g_rs, q, q_f, q_r, r_i, r_is, r_o, r_os, n_s, n_d = found
    read(table, key_of(_PAIR, s, d, token), now, half_life, pair)
    read(table, key_of(_ORIG, s, kind, kind), now, half_life, orig)
    read(table, key_of(_RESP, d, kind, kind), now, half_life, resp)
    read(table, key_of(_G_FWD, gs, d, token), now, half_life, g_f)
    read(table, key_of(_G_FWD_SUM, gs, kind, kind), now, half_life, g_fs)
    read(table, key_of(_G_REV, gd, s, token), now, half_life, g_r)
    read(table, key_of(_G_REV_SUM, gd, kind, kind), now, half_life, g_rs)
    read(table, key_of(_Q, gs, gd, token), now, half_life, q)
    read(table, key_of(_Q_FWD_SUM, gs, kind, kind), now, half_life, q_f)
    read(table, key_of(_Q_REV_SUM, gd, kind, kind), now, half_life, q_r)
    read(table, key_of(_R_IN, d, token, token), now, half_life, r_i)
    read(table, key_of(_R_IN_SUM, gd, token, token), now, half_life, r_is)
    read(table, key_of(_R_OUT, s, token, token), now, half_life, r_o)
    read(table, key_of(_R_OUT_SUM, gs, token, token), now, half_life, r_os)
    read(table, key_of(_HOSTS, gs, gs, gs), now, half_life, n_s)
    read(table, key_of(_HOSTS, gd, gd, gd), now, half_life, n_d)


@kernel
def _learn_pair(
    table: Any, used: Any, s: Any, d: Any, gs: Any, gd: Any, token: Any, kind: Any, now: Any, half_life: Any
) -> None:
    """A pair did this for the first time: the role levels count distinct pairs, not rows (Kneser-Ney)."""
    h = half_life
    new = add(table, used, key_of(_G_FWD, gs, d, token), 1.0, 0.0, now, h)
    add(table, used, key_of(_G_FWD_SUM, gs, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    new = add(table, used, key_of(_G_REV, gd, s, token), 1.0, 0.0, now, h)
    add(table, used, key_of(_G_REV_SUM, gd, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    new = add(table, used, key_of(_Q, gs, gd, token), 1.0, 0.0, now, h)
    add(table, used, key_of(_Q_FWD_SUM, gs, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    add(table, used, key_of(_Q_REV_SUM, gd, kind, kind), 1.0, 1.0 if new else 0.0, now, h)
    add(table, used, key_of(_R_IN, d, token, token), 1.0, 0.0, now, h)
    add(table, used, key_of(_R_IN_SUM, gd, token, token), 1.0, 0.0, now, h)
    add(table, used, key_of(_R_OUT, s, token, token), 1.0, 0.0, now, h)
    add(table, used, key_of(_R_OUT_SUM, gs, token, token), 1.0, 0.0, now, h)


@kernel
def _count_host(table: Any, used: Any, host: Any, role: Any, now: Any, half_life: Any) -> Any:
    """Each host counts once, in the role it has when first met; True when it is new."""
    new = add(table, used, mix(_HOSTS, host), 1.0, 0.0, now, half_life)
    if new:
        add(table, used, key_of(_HOSTS, role, role, role), 1.0, 0.0, now, half_life)
    return new


@kernel
def walk(
    units: Any,
    own: Any,
    table: Any,
    used: Any,
    max_entries: Any,
    calibrated: Any,
    half_life: Any,
    outside: Any,
    start: Any,
    stop: Any,
    b: Any,
    out: Any,
    roles: Any,
) -> Any:
    """Score and learn rows ``start`` to ``stop`` in order into ``out`` and ``roles``; returns the row at which the
    table is full, or ``stop``.

    Longer than most functions here because it is one loop body; ``own`` = keys of both hosts' roles and of the pair,
    ``b`` is room for what is read for a row.
    """
    origs, resps, orig_zones, resp_zones, tokens, kinds, strata, bonuses, times, teaches = units
    histograms, trees, totals, tails, since, clock = calibrated
    found = (
        b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]
    )  # fmt: skip
    pair, orig, resp, g_f, g_fs, g_r, g_rs, q, q_f, q_r, r_i, r_is, r_o, r_os, n_s, n_d = found
    sources, targets, pairs = own
    for row in range(start, stop):
        if used[0] >= max_entries:
            return row
        near = min(row + AHEAD, stop - 1)
        soon(table[0], sources[near])
        soon(table[0], targets[near])
        soon(table[0], pairs[near])
        now, kind = times[row], np.uint64(kinds[row])
        s, d, token = origs[row], resps[row], tokens[row]
        gs, gd = _role(table, sources[row], orig_zones[row]), _role(table, targets[row], resp_zones[row])
        roles[0, row], roles[1, row] = gs, gd
        calibration.fade(histograms, trees, totals, tails, clock, now)
        pair_key = pairs[row]
        if repeats(table, pair_key, now, clock[0]):
            out[3, row] = out[4, row] = 1.0
            out[10, row], out[11, row] = clock[3], (now - clock[0]) / _DAY_US
            continue
        _look_up(table, s, d, gs, gd, token, kind, now, half_life, found)
        forward = pitman_yor(g_f[0], g_fs[0], g_fs[1], _base(q, q_f, r_i, r_is, n_d))
        reverse = pitman_yor(g_r[0], g_rs[0], g_rs[1], _base(q, q_r, r_o, r_os, n_s))
        forward = 0.0 - np.log(pitman_yor(pair[0], orig[0], orig[1], forward))
        reverse = 0.0 - np.log(pitman_yor(pair[0], resp[0], resp[1], reverse))
        first = pair[0] < DISCOUNT
        score = forward + reverse + (bonuses[row] if first else 0.0)
        p = calibration.p_value(trees, totals, tails, strata[row], score)

        out[0, row], out[1, row], out[2, row], out[3, row] = forward, reverse, score, p
        out[4, row], out[5, row], out[6, row], out[7, row] = pair[0], orig[0], orig[1], g_f[0]
        out[8, row], out[9, row], out[10, row] = resp[0], resp[1], clock[3]
        out[11, row] = (now - clock[0]) / _DAY_US

        calibration.learn(histograms, trees, totals, tails, since, strata[row], score)
        weight = guard(p, teaches[row])
        new = learn_hour(table, used, pair_key, weight, now, half_life)
        add(table, used, key_of(_ORIG, s, kind, kind), weight, 1.0 if new else 0.0, now, half_life)
        add(table, used, key_of(_RESP, d, kind, kind), weight, 1.0 if new else 0.0, now, half_life)
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
        strata: number of calibration strata.
        outside: key of the zone whose hosts are not counted as inside.
        max_entries: bound of the count table (36 bytes an entry).
        half_life_days: forgetting; detection practice is 30 days for IT.
    """

    name: Final = "structure"

    def __init__(self, strata: int, outside: np.uint64, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, _NEW_ENTRIES)
        self._outside = outside

    def score(self, units: Columns) -> Said:
        """Score then learn each row in order. Returns the columns of `COLUMNS`, float64, and the learned
        ``orig_role`` and ``resp_role`` as keys, for other models to fall back on."""
        return self.score_columns(units_of(units))

    def score_columns(self, units: Units) -> Said:
        """The same from columns."""
        count = units.orig.size
        out, roles = np.zeros((len(COLUMNS), count)), np.empty((2, count), dtype=np.uint64)
        columns = tuple(getattr(units, name) for name in Units.__dataclass_fields__)
        tag, memory = np.full(count, _ROLE_OF), self.memory
        own = mix_all(tag, units.orig), mix_all(tag, units.resp), keys_of(_PAIR, units.orig, units.resp, units.token)
        memory.walk(
            count,
            lambda start, stop, table: walk(
                columns, own, table, memory.counts.used, memory.counts.max_entries, memory.calibrated,
                memory.half_life, self._outside, start, stop, np.zeros((16, 2)), out, roles,
            ),
        )  # fmt: skip
        return {**dict(zip(COLUMNS, out, strict=True)), "orig_role": roles[0], "resp_role": roles[1]}

    def look_up(self, units: Columns) -> dict[str, tuple[float, float]]:
        """Weight and distinct that the first of these units will be judged by, by the names of `LOOKED_UP`; before it
        is scored."""
        one, table, found = units_of(units), self.memory.counts.table, np.zeros((len(LOOKED_UP), 2))
        s, d = one.orig[0], one.resp[0]
        source, target = (
            np.uint64(_role(table, np.uint64(mix(_ROLE_OF, host)), zone))
            for host, zone in ((s, one.orig_zone[0]), (d, one.resp_zone[0]))
        )
        kind, now, half_life = np.uint64(one.kind[0]), one.time[0], self.memory.half_life
        _look_up(table, s, d, source, target, one.token[0], kind, now, half_life, tuple(found))
        return {name: (weight, distinct) for name, (weight, distinct) in zip(LOOKED_UP, found.tolist(), strict=True)}

    @property
    def began(self) -> float:
        """Time of the first row ever seen, µs; 0 when there was none."""
        return float(self.memory.calibration.clock[0])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)

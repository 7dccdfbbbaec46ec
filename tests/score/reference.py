"""The scorer written again as plainly as possible, from its documented formulas: dictionaries, names and ``math``.

No tables, no hashing, no trees: what the kernels do with arrays is done here with tuples as dictionary keys. It is
slow and has no bound; it exists to be read, and to be compared with.
"""

import math
from collections import defaultdict
from dataclasses import dataclass

from detector.score import calibration, structure, table

HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
FLOW = 0


@dataclass(frozen=True)
class Row:
    orig: str
    resp: str
    orig_zone: str
    resp_zone: str
    token: str
    kind: int
    stratum: int
    bonus: float
    time: int
    teach: bool


class Fading:
    """Counts that are halved once in each half-life, continuously."""

    def __init__(self, half_life):
        self.half_life = half_life
        self.entries = {}

    def at(self, key, now):
        value, last = self.entries.get(key, (0.0, now))
        return value * 2.0 ** (-max(now - last, 0) / self.half_life)

    def add(self, key, amount, now):
        last = self.entries[key][1] if key in self.entries else now
        self.entries[key] = self.at(key, now) + amount, max(now, last)

    def __contains__(self, key):
        return key in self.entries


class Scores:
    """The past scores of one stratum: a histogram, and the exponential tail that was last fitted to it."""

    def __init__(self):
        self.bins = defaultdict(float)
        self.total = 0.0
        self.unfitted = 0
        self.tail = None  # start, count above it, scale

    def add(self, score):
        self.bins[bin_of(score)] += 1.0
        self.total += 1.0
        self.unfitted += 1
        if self.unfitted >= calibration._REFIT or self.total == calibration.MIN_ROWS:
            self.unfitted = 0
            self.fit()

    def fit(self):
        """The highest bins that hold a percent of the scores, at least `TAIL_MIN` of them; never the lowest bin."""
        wanted = max(calibration.TAIL_MIN, calibration.TAIL_SHARE * self.total)
        above, start = 0.0, calibration.BINS
        while start > 1 and above < wanted:
            start -= 1
            above += self.bins[start]
        if above < calibration.TAIL_MIN:
            self.tail = None
            return
        middle = sum(count * (index + 0.5 - start) for index, count in self.bins.items() if index >= start) / above
        scale = max(middle * calibration.BIN_WIDTH, calibration.MIN_TAIL_SCALE)
        self.tail = start * calibration.BIN_WIDTH, above, scale

    def p_value(self, score):
        if self.tail is not None and score >= self.tail[0]:
            start, above, scale = self.tail
            return (above + 1.0) / (self.total + 1.0) * math.exp(-(score - start) / scale)
        above = sum(count for index, count in self.bins.items() if index >= bin_of(score))
        return (above + 1.0) / (self.total + 1.0)

    def halve(self):
        self.bins = defaultdict(float, {index: count / 2 for index, count in self.bins.items()})
        self.total /= 2
        if self.tail is not None:
            self.tail = self.tail[0], self.tail[1] / 2, self.tail[2]


def bin_of(score):
    return min(max(int(score / calibration.BIN_WIDTH), 0), calibration.BINS - 1)


class Calibrated:
    """`Scores` of each stratum and of all rows together, and the clock that halves them."""

    def __init__(self, strata):
        self.scores = [Scores() for _ in range(strata)]
        self.pooled = Scores()
        self.first = self.halving = self.last = None

    def pass_time(self, now):
        young = self.pooled.total < calibration.MIN_ROWS and self.last is not None and self.last > 0
        if self.first is None or (young and now - self.last > calibration.APART_US):
            self.first, self.halving = now, now + calibration.FIRST_HALVING_US
        self.last = now if self.last is None else max(self.last, now)
        while now >= self.halving:
            for scores in (*self.scores, self.pooled):
                scores.halve()
            self.halving += min(self.halving - self.first, calibration.WINDOW_US)

    def p_value(self, stratum, score):
        for scores in (self.scores[stratum], self.pooled):
            if scores.total >= calibration.MIN_ROWS:
                return scores.p_value(score)
        return 1.0

    def add(self, stratum, score):
        self.scores[stratum].add(score)
        self.pooled.add(score)

    def pause(self, now):
        """µs within which the same again is a repeat: an hour, or a part of a young history."""
        return min(max((now - self.first) / table.SLOTS, table.SHORTEST_US), HOUR_US)


def pitman_yor(count, total, distinct, base):
    return (max(count - table.DISCOUNT, 0.0) + (table.STRENGTH + table.DISCOUNT * distinct) * base) / (
        total + table.STRENGTH
    )


def guard(p, teaches):
    return 1.0 if teaches else min(1.0, max(p / table.GUARD_P, table.GUARD_FLOOR))


class Reference:
    """The structure model: score then learn row by row; the results have the names of `structure.COLUMNS`, and the
    roles as tuples. Of a repeat it says only that it is one."""

    def __init__(self, strata, outside, half_life_days):
        self.outside = outside
        self.counts = Fading(half_life_days * DAY_US)
        self.learned_at = {}
        self.votes = {}  # host -> candidate service, lead
        self.calibrated = Calibrated(strata)
        self.inside = set()

    def score(self, rows):
        return [self.row(row) for row in rows]

    def row(self, row):
        s, d, k, now = row.orig, row.resp, row.token, row.time
        self.calibrated.pass_time(now)
        gs, gd = self.role(s, row.orig_zone), self.role(d, row.resp_zone)
        roles = {"orig_role": gs, "resp_role": gd}
        learned = self.learned_at.get((s, d, k))
        if learned is not None and now - learned < self.calibrated.pause(now):
            return roles | {"p_structure": 1.0, "seen": 1.0}
        result = roles | self.surprisals(row, gs, gd)
        bonus = row.bonus if result["seen"] < table.DISCOUNT else 0.0
        result["structure"] = result["structure_forward"] + result["structure_reverse"] + bonus
        result["p_structure"] = self.calibrated.p_value(row.stratum, result["structure"])
        result["hosts"] = float(len(self.inside))
        result["history"] = (now - self.calibrated.first) / DAY_US
        self.learn(row, gs, gd, result)
        return result

    def role(self, host, zone):
        service, lead = self.votes.get(host, ("", 0))
        return (zone, service) if lead >= structure.ROLE_MIN_CLIENTS else (zone,)

    def surprisals(self, row, gs, gd):
        s, d, k, kind, now = row.orig, row.resp, row.token, row.kind, row.time

        def n(*key):
            return self.counts.at(key, now)

        a = structure.DIRICHLET

        def role_pair(side, g):  # Q(g(d), k | g(s)), or the same from the other side
            return (n("Q", gs, gd, k) + a) / (n("Q of", side, g, kind) + a * (n("cells of Q", side, g, kind) + 1))

        def within(host, g, side):  # R(d | g(d), k)
            hosts = n("hosts of role", g)
            return (n("R", side, host, k) + a) / (n("R of", side, g, k) + a * (hosts + 1))

        def level(side, g, h, host, base):
            of_role = pitman_yor(
                n("role", side, g, h, k), n("role total", side, g, kind), n("role cells", side, g, kind), base
            )
            mine = n("hours", side, host, kind), n("pairs", side, host, kind)
            return -math.log(pitman_yor(n("pair", s, d, k), *mine, of_role))

        return {
            "structure_forward": level("orig", gs, d, s, role_pair("orig", gs) * within(d, gd, "resp")),
            "structure_reverse": level("resp", gd, s, d, role_pair("resp", gd) * within(s, gs, "orig")),
            "seen": n("pair", s, d, k),
            "orig_rows": n("hours", "orig", s, kind),
            "orig_pairs": n("pairs", "orig", s, kind),
            "role_sources": n("role", "orig", gs, d, k),
            "resp_rows": n("hours", "resp", d, kind),
            "resp_pairs": n("pairs", "resp", d, kind),
        }

    def learn(self, row, gs, gd, result):
        s, d, k, kind, now = row.orig, row.resp, row.token, row.kind, row.time
        self.calibrated.add(row.stratum, result["structure"])
        weight = guard(result["p_structure"], row.teach)
        new = ("pair", s, d, k) not in self.counts
        self.learned_at[s, d, k] = now
        self.counts.add(("pair", s, d, k), weight, now)
        for side, host in (("orig", s), ("resp", d)):
            self.counts.add(("hours", side, host, kind), weight, now)
            self.counts.add(("pairs", side, host, kind), float(new), now)
        if new:
            self.meet(s, gs, row.orig_zone, now)
            self.meet(d, gd, row.resp_zone, now)
            self.learn_roles(row, gs, gd)
            if kind == FLOW:
                self.vote(d, k)

    def meet(self, host, role, zone, now):
        if ("host", host) in self.counts:
            return
        self.counts.add(("host", host), 1.0, now)
        self.counts.add(("hosts of role", role), 1.0, now)
        if zone != self.outside:
            self.inside.add(host)

    def learn_roles(self, row, gs, gd):
        """A pair's first time: each role level counts pairs, and how many different cells they fill."""
        s, d, k, kind, now = row.orig, row.resp, row.token, row.kind, row.time
        for side, g, h in (("orig", gs, d), ("resp", gd, s)):
            cell = "role", side, g, h, k
            self.counts.add(("role cells", side, g, kind), float(cell not in self.counts), now)
            self.counts.add(("role total", side, g, kind), 1.0, now)
            self.counts.add(cell, 1.0, now)
        first = float(("Q", gs, gd, k) not in self.counts)
        self.counts.add(("Q", gs, gd, k), 1.0, now)
        for side, g, h in (("orig", gs, s), ("resp", gd, d)):
            self.counts.add(("Q of", side, g, kind), 1.0, now)
            self.counts.add(("cells of Q", side, g, kind), first, now)
            self.counts.add(("R", side, h, k), 1.0, now)
            self.counts.add(("R of", side, g, k), 1.0, now)

    def vote(self, host, token):
        """Boyer and Moore's majority vote: a lead that others wear down, then another candidate."""
        service, lead = self.votes.get(host, (token, 0))
        if lead <= 0:
            service, lead = token, 0
        self.votes[host] = service, lead + (1 if service == token else -1)

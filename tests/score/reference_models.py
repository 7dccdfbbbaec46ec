"""The models beside structure, and what puts them together, written again plainly: see `reference`."""

import math
from dataclasses import dataclass

from detector.score import calibration, fusion, phases
from tests.score.reference import DAY_US, HOUR_US, Calibrated, Fading, guard, pitman_yor, table


@dataclass(frozen=True)
class Question:
    """One row of `backoff.Questions`: a tuple of contexts, from narrow to wide, and a symbol for each chain."""

    contexts: tuple[tuple[str, ...], ...]
    symbols: tuple[str, ...]
    asked: bool
    stratum: int
    bonus: float
    time: int
    teach: bool


class Backoff:
    """The hierarchical Pitman-Yor; answers have the names of `backoff.COLUMNS`."""

    def __init__(self, strata, half_life_days, relative):
        self.relative = relative
        self.counts = Fading(half_life_days * DAY_US)
        self.learned_at = {}
        self.calibrated = Calibrated(strata)

    def row(self, row):
        now = row.time
        self.calibrated.pass_time(now)
        learned = self.learned_at.get((row.contexts[0][0], row.symbols[0]))
        repeat = learned is not None and now - learned < self.calibrated.pause(now)
        if not row.asked or repeat:
            return {"surprise": 0.0, "p": 1.0, "seen": 0.0, "total": 0.0, "distinct": 0.0, "last_seen": 0.0}
        chains = list(zip(row.contexts, row.symbols, strict=True))
        seen = [self.counts.at(("symbol", chain, 0, c[0], x), now) for chain, (c, x) in enumerate(chains)]
        score = sum(-math.log(self.probability(chain, c, x, now)) for chain, (c, x) in enumerate(chains))
        score = max(score + (row.bonus if seen[0] < table.DISCOUNT else 0.0), 0.0)
        narrowest = 0, 0, row.contexts[0][0]
        result = {
            "surprise": score,
            "p": self.calibrated.p_value(row.stratum, score),
            "seen": seen[0],
            "total": self.counts.at(("total", *narrowest), now),
            "distinct": self.counts.at(("distinct", *narrowest), now),
            "last_seen": seen[-1],
        }
        self.calibrated.add(row.stratum, score)
        self.learned_at[row.contexts[0][0], row.symbols[0]] = now
        for chain, (contexts, symbol) in enumerate(chains):
            self.learn(chain, contexts, symbol, guard(result["p"], row.teach), now)
        return result

    def probability(self, chain, contexts, symbol, now):
        p, widest = 1 / (self.counts.at(("symbols", chain), now) + 1), None
        for level in reversed(range(len(contexts))):
            here = chain, level, contexts[level]
            count = self.counts.at(("symbol", *here, symbol), now)
            p = pitman_yor(count, self.counts.at(("total", *here), now), self.counts.at(("distinct", *here), now), p)
            widest = p if widest is None else widest
        return p / widest if self.relative else p

    def learn(self, chain, contexts, symbol, weight, now):
        """The narrowest context counts hours; a wider one is told only of what was new to the one before."""
        for level, context in enumerate(contexts):
            here, amount = (chain, level, context), weight if level == 0 else 1.0
            new = ("symbol", *here, symbol) not in self.counts
            self.counts.add(("symbol", *here, symbol), amount, now)
            self.counts.add(("total", *here), amount, now)
            self.counts.add(("distinct", *here), float(new), now)
            if not new:
                return
        if ("anywhere", chain, symbol) not in self.counts:
            self.counts.add(("symbols", chain), 1.0, now)
        self.counts.add(("anywhere", chain, symbol), 1.0, now)


class Phases:
    """Since when each host is known and in how many hours it was active."""

    def __init__(self):
        self.hosts = {}  # first seen, hours, start of the hour counted last
        self.times = []
        self.began = None

    def row(self, orig, resp, now):
        few = len(self.times) < calibration.MIN_ROWS
        if not self.times or (few and now - max(self.times) > calibration.APART_US):
            self.began = now
        self.times.append(now)
        return self.meet(orig, now), self.meet(resp, now)

    def meet(self, host, now):
        first, hours, last = self.hosts.get(host, (now, 0, now - HOUR_US))
        if now - last >= HOUR_US:
            hours, last = hours + 1, now
        self.hosts[host] = first, hours, last
        known, history = now - first, now - self.began
        lively = hours >= phases.ACTIVE_HOURS
        if (known >= phases.SHADOW_US and lively) or known >= history / phases.YOUNG_SHARE:
            return phases.PHASES.index("protecting")
        return phases.PHASES.index("shadow" if known >= phases.LEARNING_US and lively else "learning")


class Fusion:
    """How many rows a day each model would call as strange, merged over what two hosts did within an hour, and
    calibrated; names of `fusion.COLUMNS`."""

    def __init__(self, interest, newcomers):
        self.interest, self.newcomers = interest, newcomers  # interest: model -> by stratum
        self.calibrated = Calibrated(1)
        self.rates = {(model, b): 0.0 for model, parts in interest.items() for b in range(len(parts))}
        self.asked = dict.fromkeys(self.rates, 0)
        self.cases = {}  # pair -> when it began, what each model says of it, nats
        self.judged = self.spoken = 0.0  # rows a day: that began a case or made it stranger; all
        self.last = None

    def row(self, opinions, stratum, pair, now, expected=False):
        self.calibrated.pass_time(now)
        spoken = {model: p for model, p in opinions.items() if p < 1.0}
        if not spoken:
            return {"fused": 0.0, "p_value": 1.0, "rows_per_day": 1.0}
        self.fade(now)
        rates = self.per_day(spoken, stratum, fusion.EXPECTED_ODDS if expected else 1.0)
        own = {model: nats(rate) for model, rate in rates.items()}
        began, case = self.cases.get(pair, (-math.inf, {}))
        fresh = abs(now - began) > fusion.CASE_US
        if fresh:
            began, case = now, {}
        together = case | {model: said for model, said in own.items() if said > case.get(model, 0.0)}
        self.cases[pair] = began, together
        stranger = fresh or together != case
        fused = sum((together if stranger else own).values())
        self.spoken += 1.0
        if self.calibrated.scores[0].total < fusion.FEW_CASES:  # a short capture: the smallest rate speaks
            per_day = max(self.spoken, 1.0)
            p = min(min(rates.values()) / per_day, 1.0)
        else:
            per_day = max(self.judged, 1.0)
            p = self.calibrated.p_value(0, fused)
        if stranger:
            self.judged += 1.0
            if now - self.calibrated.first >= DAY_US:  # before, all rates are too small
                self.calibrated.add(0, fused)
        return {"fused": fused, "p_value": p, "rows_per_day": per_day}

    def per_day(self, spoken, stratum, odds):
        """Rows a day that each model would call as strange, out of the attention it gets."""
        for model in spoken:
            self.rates[model, stratum] += 1.0
            self.asked[model, stratum] += 1
        alive = sum(self.interest[model][b] for (model, b), rate in self.rates.items() if rate >= 1.0)
        found = {}
        for model, p in spoken.items():
            least = 1 / (self.asked[model, stratum] + 1) if stratum >= self.newcomers else 0.0
            share = self.interest[model][stratum] / alive
            found[model] = odds * max(p, least) * self.rates[model, stratum] / share
        return found

    def fade(self, now):
        """Rows of a day ago count 1/e."""
        if self.last is not None and now > self.last:
            kept = math.exp(-(now - self.last) / DAY_US)
            self.rates = {group: rate * kept for group, rate in self.rates.items()}
            self.judged *= kept
            self.spoken *= kept
        self.last = now if self.last is None else max(self.last, now)


def nats(rate):
    """What one model says of a case."""
    return max(math.log(fusion.COMMON / max(rate, fusion.RARE)), 0.0)

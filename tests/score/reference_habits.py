"""`volume` and `fanout` written again plainly, with SciPy's distributions: see `reference`."""

import math
from collections import defaultdict

from scipy import stats

from detector.score import calibration, fanout, habits, volume
from tests.score.reference import DAY_US, HOUR_US, Calibrated, Fading, guard

WINDOW_US = 600_000_000


class Habits:
    """What is usual by whom, and the days of surges."""

    def __init__(self, strata, half_life_days):
        self.sums = Fading(half_life_days * DAY_US)
        self.days = Fading(half_life_days * DAY_US)
        self.counted, self.reached = {}, {}
        self.calibrated = Calibrated(strata)

    def recall(self, who, now):
        return tuple(self.sums.at((who, power), now) for power in range(3))

    def known(self, who, groups, now):
        """Sums of the one, and of the first group that knows, while they are wanted."""
        own = self.recall(who, now)
        told = (self.recall(group, now) for group in groups) if own[0] < habits.KNOWN else ()
        return own, next((sums for sums in told if sums[0] >= habits.GROUP_MIN), (0.0, 0.0, 0.0))

    def learn(self, who, groups, value, weight, now):
        young = self.recall(who, now)[0] < habits.KNOWN
        for one in (who, *(groups if young else ())):
            for power in range(3):
                self.sums.add((one, power), weight * value**power, now)

    def surprise(self, who, reached, law, now):
        """The law's, unless one came as far on several days."""
        days = self.days.at((who, reached), now) - habits.HABIT_DAYS
        return law if days <= 0 else min(law, -math.log(days / (self.days.at((who, "any"), now) + 1)))

    def remember(self, who, usual, reached, now):
        for what in ("any", *(power for power in range(reached, max(reached - 8, 0), -1) if 2.0**power > usual)):
            key = who, what
            self.reached[key] = max(now, self.reached.get(key, now))
            news = now - self.counted.get(key, -math.inf) >= habits.DAY_US
            self.days.add(key, float(news), now)
            if news:
                self.counted[key] = now

    def p_value(self, stratum, score):
        if self.calibrated.pooled.total < calibration.MIN_ROWS:
            return math.exp(-score / 2)
        return self.calibrated.p_value(stratum, score)


def relative_noise(windows, total, squares):
    """φ: relative variance of a window beyond Poisson."""
    mean = total / windows if windows else 0.0
    if mean <= 0:
        return habits.NOISE
    beyond = max(squares / windows - mean**2 - mean, 0) / mean**2
    told = windows * beyond + habits.NOISE_WINDOWS * habits.NOISE
    return max(told / (windows + habits.NOISE_WINDOWS), habits.LEAST_NOISE)


def gamma_poisson(own, group):
    """Mean of the next window and the shape of its gamma."""
    given, total = 0.0, own[1] + 0.5
    if group[0] > 0:
        mean = group[1] / group[0]
        given = 1.0
        if mean > 0:
            differ = (group[2] / group[0] - mean**2 - mean) / mean**2 - habits.NOISE
            shape = min(max(1 / max(differ, 1 / habits.MOST_SHAPE), habits.LEAST_SHAPE), habits.MOST_SHAPE)
            given = shape * (1 + habits.NOISE * mean) / mean
        total += given * mean
    mean = total / (own[0] + given or 1.0)
    noise = relative_noise(*own)
    return mean, 1 / (noise + (1 + noise) * (1 + noise * mean) / total)


def negative_binomial(count, mean, shape):
    return -stats.nbinom.logsf(count - 1, shape, shape / (shape + mean)) if count > 0 else 0.0


def power(value):
    return math.floor(math.log2(value)) if value >= 2 else 0


class Volume:
    """Rows are dictionaries with the names of `volume.Flows`."""

    def __init__(self, strata, half_life_days):
        self.habits = Habits(strata, half_life_days)
        self.week = Fading(half_life_days * DAY_US)
        self.hours = {}

    def row(self, row):
        now = row["time"]
        self.habits.calibrated.pass_time(now)
        result = dict.fromkeys(volume.COLUMNS, 0.0) | {"p_volume": 1.0}
        if not row["flow"]:
            return result
        edge = row["orig"], row["resp"], row["service"]
        groups = [(row["orig_role"], row["resp_role"], row["service"]), (row["service"],), ()]
        hour = now // HOUR_US * HOUR_US
        if edge in self.hours and self.hours[edge]["begins"] < hour:
            self.close(edge, groups, row["orig_role"], now)
            del self.hours[edge]
        fresh = {"begins": hour, "slot": row["slot"], "weight": 1.0, "seen": [0.0, 0.0, 0.0]}
        state = self.hours.setdefault(edge, fresh)
        surges = []
        for what, more in enumerate((1.0, row["sent"] + 1.0, row["received"] + 1.0)):
            before, after = state["seen"][what], state["seen"][what] + more
            state["seen"][what] = after
            if after >= (volume.MIN_BYTES if what else volume.MIN_ROWS) and power(after) > power(before):
                surges += self.surge(edge, groups, row, what, after)
        if not surges:
            return result
        score, what, seen, usual, hours = max(surges, key=lambda surge: surge[0])
        p = self.habits.p_value(row["stratum"], score)
        self.habits.calibrated.add(row["stratum"], score)
        state["weight"] = min(state["weight"], guard(p, row["teach"]))
        self.habits.remember((edge, what), usual, power(seen), now)
        return dict(zip(volume.COLUMNS, (p, score, what + 1, seen, usual, hours), strict=True))

    def surge(self, edge, groups, row, what, seen):
        now = row["time"]
        own, group = self.habits.known((edge, what), [(g, what) for g in groups], now)
        if own[0] < habits.KNOWN and group[0] == 0:
            return []
        if what == 0:
            mean, shape = gamma_poisson(own, group)
            mean *= self.exposure(row["orig_role"], row["slot"], now)
            above, usual = seen - 1 > mean, mean + 1
            law = negative_binomial(seen - 1, mean, shape) if above else 0.0
        else:
            middle, variance, hours = log_bytes(own, group)
            above, usual = math.log(seen) > middle, math.exp(middle)
            t = (math.log(seen) - middle) / math.sqrt(variance * (1 + 1 / hours))
            law = -stats.t.logsf(t, min(hours, volume.MOST_FREEDOM))
        score = self.habits.surprise((edge, what), power(seen), law, now)
        return [(score, what, seen, usual, own[0])] if above and score > 0 else []

    def exposure(self, role, slot, now):
        seen = expected = volume.EXPOSURE_MIN
        for step, share in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            seen += share * self.week.at((role, (slot + step) % 168, "seen"), now)
            expected += share * self.week.at((role, (slot + step) % 168, "expected"), now)
        return min(max(seen / expected, 1 / volume.MOST_EXPOSURE), volume.MOST_EXPOSURE)

    def close(self, edge, groups, role, now):
        state = self.hours[edge]
        for what, total in enumerate(state["seen"]):
            if what and not total:
                continue
            who, kin = (edge, what), [(g, what) for g in groups]
            own, group = self.habits.known(who, kin, now)
            capped = own[0] >= habits.KNOWN or group[0] > 0
            if what == 0:
                mean, _ = gamma_poisson(own, group)
                tau = self.exposure(role, state["slot"], now)
                value = min(total - 1, 2 * mean * tau + 1) if capped else total - 1
                informed = state["weight"] / (1 + mean)
                self.week.add((role, state["slot"], "seen"), value * informed, now)
                self.week.add((role, state["slot"], "expected"), mean * informed, now)
                value /= tau
            else:
                middle, variance, _ = log_bytes(own, group)
                most = middle + 2 * math.sqrt(variance) + math.log(2)
                value = min(math.log(total), most) if capped else math.log(total)
            self.habits.learn(who, kin, value, state["weight"], now)


def log_bytes(own, group):
    """Mean and variance of ln bytes, and hours they come from."""
    given = 1.0 if own[0] < habits.KNOWN else 0.0
    middle, variance = volume.GUESS_MEAN, volume.GUESS_VARIANCE
    if group[0] > 0:
        middle = group[1] / group[0]
        variance = max(group[2] / group[0] - middle**2, 0)
    hours = own[0] + given
    mean = (own[1] + given * middle) / hours
    squares = (own[2] + given * (variance + middle**2)) / hours
    return mean, max(squares - mean**2, volume.LEAST_VARIANCE), own[0] + given * max(group[0], 1.0)


class Fanout:
    """Rows are dictionaries with the names of `fanout.Contacts`."""

    def __init__(self, strata, half_life_days):
        self.habits = Habits(strata, half_life_days)
        self.windows = {}  # (source, row of windows) -> begins, targets, nats
        self.last_seen = defaultdict(lambda: -1)

    def row(self, row):
        now, source = row["time"], (row["orig"], row["token"])
        names = ("p_fanout", "fanout", "fanout_targets", "fanout_usual", "fanout_windows", "fanout_sweep")
        self.habits.calibrated.pass_time(now)
        if not row["asked"]:
            return dict(zip(names, (1.0, 0, 0, 0, 0, 0), strict=True))
        groups = [(row["token"], row["role"]), (row["token"],), ()]
        opened = []
        for shift in (0, WINDOW_US // 2):
            begins = (now + shift) // WINDOW_US * WINDOW_US - shift
            window = self.windows.get((source, shift))
            if window is not None and window["begins"] < begins and shift == 0:
                self.close(source, groups, window, row["teach"], now)
            if window is None or window["begins"] < begins:
                window = self.windows[source, shift] = {"begins": begins, "count": 0, "nats": 0.0}
            opened.append(window)
        before = max(window["count"] for window in opened)
        seen = self.last_seen[source, row["target"]]
        self.last_seen[source, row["target"]] = max(seen, now)
        for window in opened:
            window["count"] += seen < window["begins"]
        count = max(window["count"] for window in opened)
        p, score, usual, windows = 1.0, 0.0, 0.0, 0.0
        if count >= 4 and power(count) > power(before):
            own, group = self.habits.known(source, groups, now)
            mean, shape = gamma_poisson(own, group)
            mean = max(mean, fanout.LEAST_USUAL)
            usual, windows = mean + 1, own[0]
            if count > usual and (windows >= habits.KNOWN or group[0] > 0):
                p, score = self.judge(source, row, count, mean, shape, opened)
        return dict(zip(names, (p, score, count, usual, windows, max(w["nats"] for w in opened)), strict=True))

    def judge(self, source, row, count, mean, shape, opened):
        now, key = row["time"], (source, power(count))
        nats = self.habits.surprise(source, power(count), negative_binomial(count - 1, mean, shape), now)
        for window in opened:
            window["nats"] = max(window["nats"], nats)
        p, score = 1.0, 0.0
        if key not in self.habits.reached or now - self.habits.reached[key] >= HOUR_US:
            p, score = self.habits.p_value(row["stratum"], nats), nats
            self.habits.calibrated.add(row["stratum"], nats)
        self.habits.remember(source, mean + 1, power(count), now)
        return p, score

    def close(self, source, groups, window, teaches, now):
        own, group = self.habits.known(source, groups, now)
        mean, _ = gamma_poisson(own, group)
        capped = own[0] >= habits.KNOWN or group[0] > 0
        value = min(window["count"] - 1, 2 * mean + 1) if capped else window["count"] - 1
        self.habits.learn(source, groups, value, guard(math.exp(-window["nats"]), teaches), now)

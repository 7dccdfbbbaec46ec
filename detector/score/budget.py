"""The alert budget: how strange a row must be so that people get about as many alerts a day as they asked for.

The threshold on the p-value is budget / rows per day, corrected by integral feedback each hour of event time (adaptive
conformal inference: Gibbs and Candes 2021), and a token bucket of one day's budget, at least one alert, caps bursts.
"""

import math
from typing import Final

P_CUT: Final = 1 / 50  # weighted p-value above which a row is never a finding, however much budget is left
FINDINGS_PER_ALERT: Final = 10  # findings that are looked at, for each alert of the budget
HOPS_PER_ALERT: Final = 4  # findings that feed the chains, for each alert of the budget
_HOUR_US: Final = 3_600_000_000
_DAY_US: Final = 24 * _HOUR_US
_STEP: Final = 0.1  # feedback gain per hour
_CLAMP: Final = 10.0  # the correction stays within this factor
_MAX_ERROR: Final = 10.0  # hours' worth of alerts: neither a storm nor a gap in the logs moves the threshold further


class Budget:
    """Decides which findings become alerts.

    Args:
        alerts_per_day: what people asked for.
    """

    def __init__(self, alerts_per_day: float) -> None:
        self.alerts_per_day = alerts_per_day
        self.correction = 1.0
        self.tokens = self.most = max(alerts_per_day, 1.0)
        self.spent_this_hour = 0
        self.hour = -1
        self.last = -1

    def findings_per_day(self, rows_per_day: float) -> float:
        """Findings expected a day when nothing is wrong; a row is one when p * rows a day is at most this."""
        return min(P_CUT * rows_per_day, FINDINGS_PER_ALERT * self.alerts_per_day)

    def hops_per_day(self, rows_per_day: float) -> float:
        """Of the findings, those strange enough to be a hop of a chain: the more hops, the more chains chance makes."""
        return min(P_CUT * rows_per_day, HOPS_PER_ALERT * self.alerts_per_day)

    def wanted(self, rows_per_day: float) -> float:
        """The threshold as it stands: an alert is what comes at most so many times a day when nothing is wrong."""
        return min(P_CUT * rows_per_day, self.correction * self.alerts_per_day)

    def alerts(self, expected: float, rows_per_day: float, now: int, *, certain: bool = False) -> bool:
        """Whether a finding at ``now`` (µs) is an alert, if ``expected`` such a day come when nothing is wrong; call
        in scoring order. What is ``certain`` is one at once and paid for afterwards, up to another day's budget."""
        self.advance(now)
        wanted = self.wanted(rows_per_day)
        if certain:
            if self.tokens < 1.0 - self.most:
                return False
        elif expected > wanted or self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        self.spent_this_hour += 1
        return True

    def advance(self, now: int) -> None:
        """Let time go on to ``now`` (µs): tokens come, and each hour moves the correction."""
        if self.hour < 0:
            self.hour, self.last = now // _HOUR_US, now
        self.tokens = min(self.most, self.tokens + self.alerts_per_day * max(now - self.last, 0) / _DAY_US)
        self.last = max(self.last, now)
        hours = now // _HOUR_US - self.hour
        if hours <= 0:
            return
        wanted = self.alerts_per_day / 24
        error = (wanted * hours - self.spent_this_hour) / wanted
        push = _STEP * min(max(error, -_MAX_ERROR), _MAX_ERROR)
        self.correction = min(max(self.correction * math.exp(push), 1 / _CLAMP), _CLAMP)
        self.hour, self.spent_this_hour = now // _HOUR_US, 0

    def state(self) -> dict[str, float]:
        """For a snapshot."""
        return {
            "correction": self.correction,
            "tokens": self.tokens,
            "spent_this_hour": self.spent_this_hour,
            "hour": self.hour,
            "last": self.last,
        }

    def load(self, state: dict[str, float]) -> None:
        """Replace what was learned by what `state` returned."""
        self.correction, self.tokens = float(state["correction"]), float(state["tokens"])
        self.spent_this_hour, self.hour, self.last = (int(state[name]) for name in ("spent_this_hour", "hour", "last"))

"""Which violations of zones and conduits are told: one alert a day of each pair of hosts and way between zones.

They have a budget of their own, as large as that of other alerts, so that neither drowns the other. What is the first
of its way that day is told at once and paid for afterwards (`score.budget`); further pairs of hosts wait for what is
left. What is not told is counted, and told when there is budget again.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from detector.correlate.chains import DAY_US

_MOST: Final = 100_000  # of each table


class Place(NamedTuple):
    """What makes violations the same: ``operation`` is the class of the act where conduits ask for it."""

    from_zone: str
    to_zone: str
    service: str
    operation: str
    src: str
    dst: str
    decision: str  # id of what was decided about it, or nothing

    @property
    def way(self) -> tuple[str, ...]:
        """Without the hosts."""
        return (*self[:4], self.decision)


class Violations:
    """What was told, when, and as which alert."""

    def __init__(self) -> None:
        self._told: dict[Place, tuple[int, int]] = {}  # when, and place among the alerts; longest ago first
        self._ways: dict[tuple[str, ...], int] = {}  # when one of it was told first within a day
        self.withheld = 0  # rows that found no budget

    def alert(self, violation: Place, now: int) -> int | None:
        """Place of the alert that tells the same since less than a day."""
        time, place = self._told.get(violation, (now - DAY_US, -1))
        return place if abs(now - time) < DAY_US else None

    def is_new(self, violation: Place, now: int) -> bool:
        """Whether nothing of its way was told for a day."""
        return abs(now - self._ways.get(violation.way, now - DAY_US)) >= DAY_US

    def tell(self, violation: Place, now: int, place: int) -> None:
        """It has an alert from now on."""
        if self.is_new(violation, now):
            _put(self._ways, violation.way, now)
        _put(self._told, violation, (now, place))

    def state(self) -> dict[str, Any]:
        """For a snapshot, JSON types only."""
        return {
            "told": [[*violation, *told] for violation, told in self._told.items()],
            "ways": [[*way, time] for way, time in self._ways.items()],
            "withheld": self.withheld,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Replace everything by what `state` returned."""
        self._told = {Place(*violation): (time, place) for *violation, time, place in state["told"]}
        self._ways = {tuple(way): time for *way, time in state["ways"]}
        self.withheld = state["withheld"]


def _put(table: dict[Any, Any], key: Any, value: Any) -> None:
    """As the latest; what was put longest ago goes at the bound."""
    table.pop(key, None)
    table[key] = value
    while len(table) > _MOST:
        del table[next(iter(table))]

"""Which rows the conduits of the plant file permit.

A way (from zone, to zone, service, operation) is looked up once; only where every conduit that permits it has windows,
the time of each row matters.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from detector.alerts.explain import OUTSIDE_WINDOWS
from detector.assets import services
from detector.assets.plant import PORTS, Plant, act_class, words
from detector.assets.windows import Windows
from detector.features.acts import OPERATION_KIND
from detector.rows import ABSENT, Coded, Rows
from detector.state.keys import Keys, integer_keys, mix_all
from detector.state.places import Places
from detector.state.texts import numbered

Numbers = NDArray[np.int64]
_MOST_WAYS: Final = 1 << 16  # looked up and kept; no result depends on it

NO_WAY: Final = "no conduit leads this way"
NO_SERVICE: Final = "no conduit names this service"
NO_OPERATION: Final = "no conduit names this operation"


class Way(NamedTuple):
    """What conduits are asked about.

    Attributes:
        service: what carries it: of an operation the service of its port, its protocol where that is not known.
        port: of the responder, or another one that all conduits treat alike; None = not known.
        protocol, operation: of an operation; None of a connection.
    """

    from_zone: str
    to_zone: str
    service: str
    port: int | None
    protocol: str | None
    operation: str | None


_NEVER, _ALWAYS, _AT_TIMES = range(3)  # what conduits say of a way

Use = tuple[int, int]
"""Which conduit of the file, and which of its services."""


class Conduits:
    """Asks the conduits.

    Args:
        plant: zones and conduits as declared.
    """

    def __init__(self, plant: Plant) -> None:
        self._conduits = plant.conduits
        self._windows = [
            Windows(conduit.windows, plant.timezone) if conduit.windows else None for conduit in plant.conduits
        ]
        self._bounds = np.array(sorted(_bounds(plant)), dtype=np.int64)
        self.uses = lru_cache(_MOST_WAYS)(self._uses)
        self._places = Places(_MOST_WAYS)
        self._begin()

    def _begin(self) -> None:
        self._answers = np.empty(0, dtype=np.int8)  # by place of the way
        self._timed: dict[int, list[int]] = {}  # conduits of those that are permitted at times

    def _uses(self, way: Way) -> tuple[Use, ...]:
        """The conduits that permit a way, in their order, whatever their windows."""
        found = []
        for place, conduit in enumerate(self._conduits):
            if not conduit.leads(way.from_zone, way.to_zone):
                continue
            service = conduit.carried_as(way.service, way.port)
            done = way.protocol is None or way.operation is None or conduit.allows(way.protocol, way.operation)
            if service is not None and done:
                found.append((place, service))
        return tuple(found)

    def ways(self, units: Rows, here: Coded, there: Coded) -> tuple[Numbers, list[Way]]:
        """The way of each row: its place among the distinct ones, and these.

        Args:
            units: of `features.units`.  here, there: zones of originator and responder.
        """
        by_service, names = units.coded("service")
        by_operation, operations = units.coded("operation")
        ports = units.array("resp_p").astype(np.int64)
        acts = units.array("kind") == OPERATION_KIND
        # Operations do not say which transport they used: the port says which service carried them.
        parts = [here.codes, there.codes, by_service, by_operation, np.searchsorted(self._bounds, ports, side="right")]
        parts.append(np.where(acts, ports, -1))
        codes, firsts = _distinct(parts)
        told = zip(*(column[firsts].tolist() for column in (*parts[:4], ports)), strict=True)
        found = []
        for begin, end, service, operation, port in told:
            zones = here.names[begin] or "", there.names[end] or ""
            known = None if port == ABSENT["resp_p"] else port
            found.append(self.way(*zones, names[service] or "", operations[operation], known))
        return codes, found

    def way(self, from_zone: str, to_zone: str, service: str, operation: str | None, port: int | None) -> Way:
        """Of one unit: its service is what the port says, or the protocol of its operation."""
        if operation is None:
            return Way(from_zone, to_zone, service, self._like(port), None, None)
        carrier = service if port is None else services.carrier(port)
        return Way(from_zone, to_zone, carrier, self._like(port), service, operation)

    def unit_permitted(self, units: Rows, here: Coded, there: Coded, keys: Keys) -> NDArray[np.bool_]:
        """Whether a conduit permits each row. What was said of a way is kept, so that most rows are not looked at.

        Args:
            units, here, there: see `ways`.  keys: of zones, kind, service and operation of each row.
        """
        ports = units.array("resp_p").astype(np.int64)
        acts = units.array("kind") == OPERATION_KIND
        like = np.where(acts, ports, np.searchsorted(self._bounds, ports, side="right"))
        places, new, anew = self._places.of(mix_all(keys, integer_keys(like)))
        if anew:
            self._begin()
        if new.size:
            codes, ways = self.ways(
                units.at(new), Coded(here.codes[new], here.names), Coded(there.codes[new], there.names)
            )
            answers, timed = self._asked(ways)
            begin = self._answers.size
            self._answers = np.concatenate([self._answers, answers[codes]])
            self._timed |= {begin + row: timed[code] for row, code in enumerate(codes.tolist()) if code in timed}
        return self._at(units, places, self._answers, self._timed)

    def permitted(self, units: Rows, codes: Numbers, ways: list[Way]) -> NDArray[np.bool_]:
        """Whether a conduit permits each row when it began; within one zone everything is.

        Args:
            units: with ``ts``.  codes, ways: as `ways` gives them.
        """
        return self._at(units, codes, *self._asked(ways))

    def _asked(self, ways: list[Way]) -> tuple[NDArray[np.int8], dict[int, list[int]]]:
        """What conduits say of ways; by place of the way the conduits of those that are permitted at times."""
        answers = np.full(len(ways), _NEVER, dtype=np.int8)
        timed: dict[int, list[int]] = {}
        for place, way in enumerate(ways):
            conduits = [conduit for conduit, _ in self.uses(way)]
            if way.from_zone == way.to_zone or any(self._windows[one] is None for one in conduits):
                answers[place] = _ALWAYS
            elif conduits:
                answers[place], timed[place] = _AT_TIMES, conduits
        return answers, timed

    def _at(
        self, units: Rows, places: Numbers, answers: NDArray[np.int8], timed: dict[int, list[int]]
    ) -> NDArray[np.bool_]:
        """The answers to rows, each at its time."""
        said = answers[places]
        permitted: NDArray[np.bool_] = said == _ALWAYS
        for place in np.unique(places[said == _AT_TIMES]).tolist():
            rows = np.flatnonzero(places == place)
            times = units.array("ts")[rows]
            for window in (self._windows[one] for one in timed[place]):
                if window is not None:
                    permitted[rows] |= window.within(times)
        return permitted

    def open_at(self, conduit: int, times: Numbers) -> NDArray[np.bool_]:
        """Whether a conduit's windows hold at times (µs)."""
        window = self._windows[conduit]
        return np.ones(times.size, dtype=np.bool_) if window is None else window.within(times)

    def breach(self, way: Way) -> tuple[str, str]:
        """Why a way is not permitted, the last that a conduit had; and the class of its act where that matters."""
        leading = [conduit for conduit in self._conduits if conduit.leads(way.from_zone, way.to_zone)]
        if not leading:
            return NO_WAY, ""
        if not any(conduit.carried_as(way.service, way.port) is not None for conduit in leading):
            return NO_SERVICE, ""
        return OUTSIDE_WINDOWS if self.uses(way) else NO_OPERATION, act_class(way.protocol, way.operation)

    def _like(self, port: int | None) -> int | None:
        """The smallest port that all conduits treat like this one."""
        if port is None or not self._bounds.size:
            return None
        place = int(np.searchsorted(self._bounds, port, side="right"))
        return int(self._bounds[place - 1]) if place else 0


def _bounds(plant: Plant) -> Iterable[int]:
    """Ports at which what conduits say may change."""
    for conduit in plant.conduits:
        for spec in words(conduit.services):
            ports = PORTS.fullmatch(spec)
            if ports is not None:
                yield from (int(ports[2]), int(ports[3] or ports[2]) + 1)


def _distinct(columns: list[NDArray[Any]]) -> tuple[Numbers, Numbers]:
    """Each row's place among the distinct ones, and the first row of each. Numbers stay small on the way."""
    codes, firsts = numbered(columns[0].astype(np.int64))
    for column in columns[1:]:
        more, _ = numbered(column.astype(np.int64))
        size = int(more.max(initial=0)) + 1
        codes, firsts = numbered(codes * size + more)
    return codes, firsts

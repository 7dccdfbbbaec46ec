"""What is known of kinds, services and operations, looked up once each."""

from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets import services
from detector.assets.operations import facts
from detector.features.declared import Declared
from detector.rows import Coded, Rows
from detector.state.keys import mix, text_keys
from detector.state.texts import numbered

FLOW_KIND, ATTEMPT_KIND, OPERATION_KIND = 0, 1, 2
CLASSES: Final = ("connection", "attempt", "chatter", "act", "move")
"""Chatter and acts are operations without and with a known meaning to an attacker; moves are connections to
services that give a foothold, to controllers, or across levels without a conduit."""
_CONNECTION, _ATTEMPT, _CHATTER, ACT, _MOVE = range(len(CLASSES))

# Prior log-odds in nats that a first-ever act of this kind is an attacker's; added once, to the first time only.
MOVE_BONUS: Final = 3.0  # odds x 20: services that give a foothold on arrival
ACT_BONUS: Final = 5.0  # times the operation's weight, see assets.operations
ACT_WEIGHT: Final = 0.2  # operations from this weight on (log-ons, admin shares) are acts, the rest is chatter

_ANY_PORT: Final = "tcp/high"  # nobody knows what it is, so it may be a foothold
MOST_ACTS: Final = 1 << 16  # looked up and kept; no result depends on it
_ROOM: Final = 1 << 8
_DTYPES: Final = {
    "token": np.uint64, "service": np.uint64, "bonus": np.float64, "consequence": np.int64, "stratum_class": np.int64,
    "crossing_class": np.int64, "foothold": np.bool_, "industrial": np.bool_, "session": np.bool_, "touches": np.bool_,
    "work": np.int64, "way": np.uint64,
}  # fmt: skip


class Act(NamedTuple):
    """What is known of a kind, service and operation.

    Attributes:
        token, service: keys of texts; those of null as the service is.
        bonus: nats.  consequence: class of OT, 0 for IT.
        stratum_class, crossing_class: place in `CLASSES`, and where it crosses levels without a conduit.
        foothold: whether an intruder could move by it, wherever it leads.
        session: whether somebody works on the responder.
        touches: whether that, or it is a controller's protocol, and not in vain.
        work: kinds of known server (bits, see `declared.Declared`) whose work it is.
        way: key of kind, service and operation, null or not.
    """

    token: np.uint64
    service: np.uint64
    bonus: float
    consequence: int
    technique: str | None
    stratum_class: int
    crossing_class: int
    foothold: bool
    industrial: bool
    session: bool
    touches: bool
    work: int
    way: np.uint64


def act(kind: int, service: str | None, operation: str | None) -> Act:
    """Look everything up."""
    bonus, consequence, technique = _meaning(service, operation)
    meant = bonus >= ACT_BONUS * ACT_WEIGHT or consequence > 0
    calm, strange = {FLOW_KIND: (_CONNECTION, _MOVE), OPERATION_KIND: (_CHATTER, ACT)}.get(kind, (_ATTEMPT, _ATTEMPT))
    session = service in services.SESSION_SERVICES and kind != ATTEMPT_KIND
    industrial = service in services.OT_SERVICES
    return Act(
        token=_key(None if service is None else f"{kind} {service} {operation or ''}"),
        service=_key(service),
        bonus=bonus,
        consequence=consequence,
        technique=technique,
        stratum_class=strange if meant else calm,
        crossing_class=strange,
        foothold=kind == FLOW_KIND and service == _ANY_PORT,
        industrial=industrial,
        session=session,
        touches=session or consequence > 0 or (industrial and kind != ATTEMPT_KIND),
        work=Declared.work(operation),
        way=np.uint64(mix(np.uint64(mix(np.uint64(kind), _key(service))), _key(operation))),
    )


def _meaning(service: str | None, operation: str | None) -> tuple[float, int, str | None]:
    """Bonus in nats, consequence class (0 for IT), technique."""
    if service is None:
        return 0.0, 0, None
    if operation is None:
        technique = services.INTERACTIVE_SERVICES.get(service)
        if service in services.OT_SERVICES:
            return MOVE_BONUS, 0, "T0886"
        return (MOVE_BONUS if technique else 0.0), 0, technique
    known = facts(service, operation)
    return ACT_BONUS * known.weight, known.consequence or 0, known.technique


def _key(text: str | None) -> np.uint64:
    key: np.uint64 = text_keys(pl.Series([text], dtype=pl.String))[0]
    return key


class KnownActs:
    """Acts met so far, a row of arrays each."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._place: dict[tuple[int, str | None, str | None], int] = {}
        self._columns: dict[str, NDArray[Any]] = {name: np.empty(_ROOM, dtype) for name, dtype in _DTYPES.items()}
        self._techniques: list[str | None] = []

    def __call__(self, units: Rows) -> "Acts":
        """The acts of units, by ``kind``, ``service`` and ``operation``. A full table begins anew; what was given
        before stays good."""
        by_service, names = units.coded("service")
        by_operation, operations = units.coded("operation")
        kinds = units.array("kind").astype(np.int64)
        codes, firsts = numbered((kinds * len(names) + by_service) * len(operations) + by_operation)
        if len(self._place) + firsts.size > MOST_ACTS:
            self._begin()
        parts = kinds[firsts].tolist(), by_service[firsts].tolist(), by_operation[firsts].tolist()
        told = [(kind, names[one], operations[two]) for kind, one, two in zip(*parts, strict=True)]
        self._meet([each for each in dict.fromkeys(told) if each not in self._place])
        places = np.array([self._place[each] for each in told], dtype=np.int64)[codes]
        return Acts(places, self._columns, self._techniques)

    def _meet(self, new: list[tuple[int, str | None, str | None]]) -> None:
        begin, end = len(self._place), len(self._place) + len(new)
        while end > self._columns["bonus"].size:
            self._columns = {name: np.concatenate([column, column]) for name, column in self._columns.items()}
        acts = [act(*each) for each in new]
        for name, column in self._columns.items():
            column[begin:end] = [getattr(one, name) for one in acts]
        self._techniques += [one.technique for one in acts]
        self._place.update(zip(new, range(begin, end), strict=True))


class Acts:
    """The acts of some rows, by the name of their field in `Act`.

    Attributes:
        places: of each row's act among those met.  techniques: theirs.
    """

    def __init__(
        self, places: NDArray[np.int64], columns: dict[str, NDArray[Any]], techniques: list[str | None]
    ) -> None:
        self.places, self._columns = places, columns
        self.techniques = Coded(places, techniques)

    def met(self, name: str) -> NDArray[Any]:
        """A field of all acts met."""
        return self._columns[name]

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A field, one value a row."""
        told: NDArray[Any] = self._columns[name][self.places]
        return told

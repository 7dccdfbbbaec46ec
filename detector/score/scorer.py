"""All models over the rows, in the order they build on each other, and one p-value from them."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.config import MODELS, Settings
from detector.rows import Rows
from detector.score.columns import Columns
from detector.score.credentials import Credentials
from detector.score.crossing import Crossing
from detector.score.drift import Drift
from detector.score.drip import Drip
from detector.score.fanout import Fanout
from detector.score.forest import Forest
from detector.score.fusion import Fusion
from detector.score.history import TABLES, History
from detector.score.model import Model, Said
from detector.score.operations import Operations
from detector.score.phases import PROTECTING, Phases
from detector.score.provenance import Provenance
from detector.score.structure import Structure
from detector.score.timing import Timing
from detector.score.trust import KEYS_SHARE, Trust
from detector.score.vendors import Vendors
from detector.score.volume import Volume
from detector.score.windows import Windows
from detector.score.zones import Zones
from detector.state.counts import Counts

ATTENTION: Final = {
    "structure": (2.0, 1.0, 1.0, 4.0, 8.0),
    "operations": (1.0, 1.0, 4.0, 16.0, 4.0),
    "credentials": (3.0, 6.0, 1.5, 40.0, 6.0),
    "timing": (0.3, 0.3, 0.3, 0.6, 1.2),
    "crossing": (0.5, 0.5, 1.5, 8.0, 2.0),
    "provenance": (1.0, 1.0, 1.0, 4.0, 1.0),
    "vendors": (2.0, 2.0, 2.0, 2.0, 2.0),
    "volume": (0.1, 0.1, 0.1, 0.1, 0.1),
    "fanout": (1.0, 1.0, 1.0, 1.0, 1.0),
    "windows": (0.15, 0.15, 0.15, 0.3, 0.3),
    "drip": (0.1, 0.1, 0.1, 0.1, 0.1),
    "forest": (2.0, 2.0, 0.7, 32.0, 16.0),
}
"""How much of the attention each model gets for what it finds in each class of rows (connection, attempt, chatter,
act, move; `features.acts.CLASSES`), any scale; and the order in which models see rows. Acts and moves are what an
intruder needs; log-ons are few and say who; hours are many and say little. Chosen by coordinate search on four
simulated plants (seeds 101 and 2) and real captures in a fifth (seed 411); the benchmark reports other seeds
(`docs/detection.md`, section 9)."""
_THREADS: Final = ThreadPoolExecutor(os.cpu_count(), "models")  # kernels run without Python's lock
THREADED_ROWS: Final = 1000  # scored at once; no result depends on it
_EVICTED: Final = ("evicted", "forgotten")  # names of the arrays that count what was dropped
_ATTEMPT: Final = 1  # of ``kind``, see features.units: nobody answered, so there may be no host to be new
NEWCOMER_SHARE: Final = 0.125
"""Rows of newcomers (`phases`) have strata of their own, with this part of the interest of the others."""

Watch = Callable[[Any, Columns], None]


def _unwatched(part: object, columns: Columns) -> None:
    """Nobody looks."""


class Scorer:
    """The models with their state.

    Args:
        settings: see `config.Settings`.
        places: how much of the attention each place deserves; a stratum is a class and a place.
        outside: key of the zone whose hosts are not counted as inside.
        zone: IANA time zone in which people work.
        crossing_bonus: nats for a jump over Purdue levels without a conduit.

    Attributes:
        watch: called with a model, or the fusion, and rows that it is about to see; for who explains what it says.
    """

    def __init__(
        self, settings: Settings, places: Sequence[float], outside: np.uint64, zone: str, crossing_bonus: float
    ) -> None:
        self._strata = len(places) * len(ATTENTION["structure"])
        bound, strata = settings.max_entries, 2 * self._strata
        forget = settings.half_life_days
        self.phases = Phases(bound)
        self.zones = Zones(bound)
        self.trust = Trust(bound // KEYS_SHARE, outside)
        self.structure = Structure(strata, outside, bound, forget)
        makers: dict[str, Callable[[], Model]] = {
            "operations": lambda: Operations(strata, bound, forget),
            "credentials": lambda: Credentials(strata, bound, forget),
            "crossing": lambda: Crossing(strata, bound, forget, crossing_bonus),
            "provenance": lambda: Provenance(strata, bound, forget),
            "vendors": lambda: Vendors(strata, bound, forget),
            "timing": lambda: Timing(strata, bound, forget, zone),
            "volume": lambda: Volume(strata, bound, forget, zone),
            "fanout": lambda: Fanout(strata, bound, forget),
            "windows": lambda: Windows(strata, bound, forget),
            "drip": lambda: Drip(bound, forget),
            "forest": lambda: Forest(strata, (Structure.name, *settings.models)),
        }
        others = [makers[name]() for name in MODELS if name in settings.models]
        self.models: list[Model] = [self.structure, *others]
        shares = {model.name: np.outer(ATTENTION[model.name], places).ravel() for model in self.models}
        shares = {name: np.concatenate([share, NEWCOMER_SHARE * share]) for name, share in shares.items()}
        self.fusion = Fusion(shares, self._strata, bound)
        self.history = History(forget)
        memories = {model.name: getattr(model, "memory", None) for model in self.models if model.name != Drip.name}
        calibrations = {name: memory.calibration for name, memory in memories.items() if memory is not None}
        self.drift = Drift(calibrations, strata)
        self.watch: Watch = _unwatched

    def score(self, units: Rows) -> Rows:
        """Score then learn each row in order: ``units`` plus the columns of the phases, of all models and of the
        fusion; ``stratum`` tells newcomers apart. In pieces: drift found between two changes what follows."""
        parts = [self._score(units.at(piece)) for piece in self.drift.pieces(units.array("obs_ts"), self._note)]
        return Rows.concat(parts) if parts else self._score(units)

    def _note(self, now: int) -> None:
        """All tables write down what they have: what is there for a day is worth more than what came in a flood."""
        for table in self._counts():
            table.note(now)

    def _counts(self) -> Iterator[Counts]:
        """Every table of counts, in the same order at all times."""
        for part in self._parts().values():
            yield from _tables_of(part)
            yield from _tables_of(getattr(part, "memory", None))

    def _score(self, units: Rows) -> Rows:
        columns = Columns(units)
        self.zones.learn(columns)
        said = dict(self.phases.score(columns))
        known = np.where(columns["kind"] == _ATTEMPT, said["orig_phase"], said["resp_phase"])
        newcomer = np.minimum(said["orig_phase"], known) < PROTECTING
        columns.add({"stratum": columns["stratum"] + newcomer * self._strata})
        for step in self._steps():
            for model in step:
                self.watch(model, columns)
            for part in self._map(methodcaller("score", columns), step, units.height):
                columns.add(part)
                said.update(part)
        said.update(self.history.mark(columns, [table for name, table in self.tables().items() if name in TABLES]))
        self.drift.note(columns)
        self.watch(self.fusion, columns)
        said.update(self.fusion.judge(columns))
        return units.plus({"stratum": columns["stratum"].astype(np.int32), **said})

    @staticmethod
    def _map(score: Callable[[Model], Said], models: Sequence[Model], rows: int) -> Iterable[Said]:
        """Few rows cost more to hand to threads than they take."""
        return _THREADS.map(score, models) if rows >= THREADED_ROWS else map(score, models)

    def _steps(self) -> tuple[list[Model], ...]:
        """Models that do not look at each other work side by side: none shares what it learns. What can be verified is
        none of them, and looks at nobody either."""
        joining = [model for model in self.models if model.name == Forest.name]
        return [self.structure], [*(model for model in self.models[1:] if model not in joining), self.trust], joining

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        parts = self._parts()
        told = _THREADS.map(methodcaller("arrays"), parts.values())  # while the path waits
        return {
            f"{part}.{name}": array for part, arrays in zip(parts, told, strict=True) for name, array in arrays.items()
        }

    def evicted(self) -> dict[str, int]:
        """By table, how many entries or hosts went at its bound. One part's arrays are looked at at a time: together
        they are as large as the state."""
        return {
            f"{part}.{name}".rpartition(".")[0]: int(array[0])
            for part, owner in self._parts().items()
            for name, array in owner.arrays().items()
            if name.rpartition(".")[2] in _EVICTED
        }

    def tables(self) -> dict[str, Counts]:
        """The tables of counts, by the part that has them."""
        found = {name: getattr(owner, "memory", None) for name, owner in self._parts().items()}
        tables = {name: memory.counts for name, memory in found.items() if memory is not None}
        return tables | {Trust.name: self.trust.keys}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""

        def load(part: str, owner: Any) -> None:
            prefix = f"{part}."
            owner.load({name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)})

        parts = self._parts()
        for _ in _THREADS.map(load, parts, parts.values()):
            pass

    def _parts(self) -> dict[str, Any]:
        models = {model.name: model for model in self.models}
        return {
            "phases": self.phases,
            "zones": self.zones,
            "trust": self.trust,
            **models,
            "fusion": self.fusion,
            "drift": self.drift,
            "history": self.history,
        }


def _tables_of(owner: object) -> list[Counts]:
    return [thing for thing in vars(owner).values() if isinstance(thing, Counts)] if owner is not None else []

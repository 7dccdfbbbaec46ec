"""The life of a flow: nanoseconds a row in each stage, by a stopwatch around the methods of an engine.

The engine is not changed; its parts' methods are replaced on the instance. Each stage is charged what it takes without
the stages it calls. A part that an engine does not have is left out, and what it did shows under `REST`.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from threading import Lock
from typing import Any, Final

from detector.engine import Engine

from . import eastwest
from .eastwest import Sources
from .folder import Folder

DECODE: Final = "decode"
REST: Final = "rest of the engine"
_PARTS: Final = (
    ("order", "order.push"), ("order", "order.flush"), ("direction", "direction.orient"),
    ("twins", "flow_twins.mark"), ("twins", "operation_twins.mark"), ("units", "_units"), ("enrich", "enrich"),
    ("zones", "scorer.zones.learn"), ("phases", "scorer.phases.score"), ("drift", "scorer.drift.note"),
    ("fusion", "scorer.fusion.judge"), ("scorer, rest", "scorer.score"), ("judge", "judge.judge"),
)  # fmt: skip
"""Stage, and where its method is."""


class Stopwatch:
    """Charges time to the stage that runs, innermost first. Models that would run side by side take turns, so that
    each is charged its own time."""

    def __init__(self) -> None:
        self.ns: Counter[str] = Counter()
        self._turn = Lock()
        self._stack: list[str] = []
        self._since = 0

    def run(self, name: str, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """What ``work`` returns."""
        self._charge()
        self._stack.append(name)
        try:
            return work(*given, **named)
        finally:
            self._charge()
            self._stack.pop()

    def wrap(self, owner: Any, method: str, name: str) -> None:
        """From now on the method of this object is timed."""
        work = getattr(owner, method)
        setattr(owner, method, lambda *given, **named: self.run(name, work, *given, **named))

    def wrap_model(self, model: Any) -> None:
        """The same for a model, which may be called by a thread of its own."""
        work, name = model.score, f"model {model.name}"

        def score(*given: Any, **named: Any) -> Any:
            with self._turn:
                return self.run(name, work, *given, **named)

        model.score = score

    def _charge(self) -> None:
        now = time.perf_counter_ns()
        if self._stack:
            self.ns[self._stack[-1]] += now - self._since
        self._since = now


@dataclass(frozen=True, slots=True)
class Life:
    """Nanoseconds a row by stage, in the order of the path, medians of the rounds."""

    source: str
    rows: int
    ns: dict[str, float]


def watched(engine: Engine) -> Stopwatch:
    """A stopwatch around all parts of an engine."""
    watch = Stopwatch()
    for name, path in _PARTS:
        *owners, method = path.split(".")
        owner: Any = engine
        for part in owners:
            owner = getattr(owner, part, None)
        if hasattr(owner, method):
            watch.wrap(owner, method, name)
    for model in getattr(engine.scorer, "models", ()):
        watch.wrap_model(model)
    return watch


def measure(folder: Folder, rounds: int) -> list[Life]:
    """The life of a flow of Zeek JSON."""
    sources = Sources(folder)
    rows = eastwest.sized(eastwest.JSON, sources)
    return [_life(eastwest.JSON, sources, rows, rounds)]


def _life(source: str, sources: Sources, rows: int, rounds: int) -> Life:
    laps = [_lap(source, sources, rows) for _ in range(rounds)]
    names = list(laps[0])
    return Life(source, rows, {name: median(lap[name] / rows for lap in laps) for name in names})


def _lap(source: str, sources: Sources, rows: int) -> dict[str, int]:
    """Nanoseconds of each stage, those of the path first."""
    engine = eastwest.taught(sources.folder)
    watch, pieces = watched(engine), sources.read(source, rows)
    while (piece := watch.run(DECODE, next, pieces, None)) is not None:
        watch.run(REST, engine.push, piece)
    order = [DECODE, *dict.fromkeys(name for name, _ in _PARTS), REST]
    models = [name for name in watch.ns if name.startswith("model ")]
    at = order.index("drift")
    order[at:at] = models
    return {name: watch.ns[name] for name in order if name in watch.ns}

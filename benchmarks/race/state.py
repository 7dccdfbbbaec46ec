"""What eastwest holds: bytes of what it learned, memory of the process, snapshot, restore, start."""

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from detector.engine import Engine

from . import eastwest
from .eastwest import Sources
from .folder import Folder

_MIB: Final = 1 << 20
_READY_ROWS: Final = 1_000


@dataclass(frozen=True, slots=True)
class State:
    """Attributes:
    edges, hosts: taught, and those that the stream added are not counted.
    learned: bytes of all arrays of the models, and of each of them.
    tables: bytes of all arrays the engine holds, with the room in them that is free.
    start_mib, peak_mib: resident memory of a process with its imports and the lines to read, and at most while it
        restored the snapshot and took ``rows`` of them.
    capture_s, snapshot_s: seconds that the path stops for a checkpoint, and until its bytes are there.
    """

    edges: int
    hosts: int
    rows: int
    learned: int
    by_part: dict[str, int]
    tables: int
    start_mib: float
    peak_mib: float
    capture_s: float
    snapshot_s: float
    snapshot_bytes: int
    restore_s: float

    @property
    def per_edge(self) -> float:
        """Bytes learned, by edge."""
        return self.learned / self.edges

    @property
    def per_host(self) -> float:
        """The same bytes, by host."""
        return self.learned / self.hosts


def measure(folder: Folder) -> State:
    """In a process that has done nothing else."""
    sources, rows = Sources(folder), min(folder.shape.lines, eastwest.TRIAL_ROWS)
    pieces, content, start = sources.read(eastwest.JSON, rows), folder.snapshot.read_bytes(), peak()
    engine, began = eastwest.new_engine(), time.perf_counter()
    engine.restore(content)
    restored = time.perf_counter() - began
    eastwest.push(engine, pieces)
    highest = peak()  # a snapshot takes more; it has its own row
    pause, began = captured(engine), time.perf_counter()
    size = len(engine.snapshot())
    taken = time.perf_counter() - began
    parts = learned(engine)
    shape = folder.shape
    return State(
        shape.edges, shape.hosts, rows, sum(parts.values()), parts, held(engine), start, highest,
        pause, taken, size, restored,
    )  # fmt: skip


def captured(engine: Engine) -> float:
    """Seconds that the path stops for a checkpoint, kernels loaded."""
    engine.capture()
    began = time.perf_counter()
    engine.capture()
    return time.perf_counter() - began


def learned(engine: Engine) -> dict[str, int]:
    """Bytes of what each part of the scorer learned."""
    sizes: dict[str, int] = {}
    for name, array in engine.scorer.arrays().items():
        part = name.partition(".")[0]
        sizes[part] = sizes.get(part, 0) + array.nbytes
    return sizes


def held(engine: Engine) -> int:
    """Bytes of all arrays that can be reached from an engine, each once; free room in tables counts."""
    return sum(thing.nbytes for thing in reachable(engine) if isinstance(thing, np.ndarray) and thing.base is None)


def reachable(root: Any) -> Iterator[Any]:
    """Everything the objects of eastwest hold: attributes, items of containers, what an array is a view of."""
    seen: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing
        yield thing
        if isinstance(thing, np.ndarray):
            waiting.append(thing.base)
        elif isinstance(thing, dict):
            waiting += thing.values()
        elif isinstance(thing, list | tuple):
            waiting += thing
        elif type(thing).__module__.startswith("detector."):
            slots = [getattr(thing, name, None) for name in getattr(type(thing), "__slots__", ())]
            waiting += [*getattr(thing, "__dict__", {}).values(), *slots]


def peak() -> float:
    """MiB this process has held at most (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB


def ready(folder: Folder) -> None:
    """What a process does before it can say that it is ready: restore, and score something with all kernels."""
    sources = Sources(folder)
    eastwest.push(eastwest.taught(folder), sources.read(eastwest.JSON, _READY_ROWS, _READY_ROWS))

"""What speed is aimed at, and whether it is reached: every number here comes from the report that is printed with it.

A target whose subject was not measured is not met: it has no value, and says why.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from . import batches, eastwest, pair, parsers, rivals

if TYPE_CHECKING:
    from .growth import Growth
    from .laps import Laps
    from .programme import Report

NOT_MEASURED: Final = "not measured"
SNAPSHOT_EDGES: Final = 5_000_000
LEAST_BATCHES: Final = 20
"""Of fewer batches nobody can tell a 99th percentile."""


@dataclass(frozen=True, slots=True)
class Target:
    """One target.

    Attributes:
        reached: None = there is nothing to measure; ``note`` says why.
        sense: whether ``bound`` is the least or the most that is wanted.
        dream: what would be better still; never decides.
    """

    name: str
    reached: float | None
    sense: Literal[">=", "<="]
    bound: float
    unit: str = "times"
    dream: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None = not measured."""
        if self.reached is None:
            return None
        return self.reached >= self.bound if self.sense == ">=" else self.reached <= self.bound


def targets(report: "Report") -> list[Target]:
    """All of them, in the order of the path."""
    made = [*_rates(report), *_growth(report), *_latency(report), *_state(report), *_forest(report)]
    return [target if target.reached is not None or target.note else _silent(target) for target in made]


def _silent(target: Target) -> Target:
    return Target(target.name, None, target.sense, target.bound, target.unit, target.dream, NOT_MEASURED)


def _ratio(laps: "dict[str, Laps]", own: str, other: str) -> float | None:
    return laps[own].against(laps[other]) if own in laps and other in laps else None


def _rates(report: "Report") -> Iterator[Target]:
    laps = report.laps
    ndjson = f"zeek.json: {parsers.READ_NDJSON}"
    ours, count = f"zeek.json: {parsers.OURS}", f"zeek.json: {parsers.COUNT}"
    yield Target("end to end from Zeek JSON / read_ndjson alone", _ratio(laps, eastwest.JSON, ndjson), ">=", 2.0)
    yield Target("end to end from Kafka / read_ndjson alone", _ratio(laps, eastwest.KAFKA, ndjson), ">=", 2.0)
    yield Target("decoder / read_ndjson, Zeek JSON", _ratio(laps, ours, ndjson), ">=", 5.0)
    yield Target("time of decoder / of newline count", _ratio(laps, count, ours), "<=", 2.5)
    for codec in batches.CODECS:
        own, theirs = (batches.name(codec, who) for who in (batches.OURS, batches.KAFKA_PYTHON))
        yield Target(f"record batches, {codec} / kafka-python's iteration", _ratio(laps, own, theirs), ">=", 8.0)
    scored = _ratio(laps, eastwest.FRAMES, rivals.MIDAS)
    yield Target("decoded frames to alerts / MIDAS-R", scored, ">=", 1 / 3, dream=1.0)
    grouped = _ratio(laps, eastwest.PARQUET, rivals.DUCKDB)
    yield Target("end to end from Parquet / DuckDB group-by", grouped, ">=", 0.5, dream=1.0)
    yield Target("end to end from Parquet / naive River", _ratio(laps, eastwest.PARQUET, rivals.RIVER), ">=", 60.0)
    yield Target("two processes / one", _ratio(laps, pair.TOGETHER, pair.ALONE), ">=", 1.8)


def _growth(report: "Report") -> Iterator[Target]:
    for growth in report.growth[1:]:
        name = f"cost a row at {growth.edges:,} edges / at {report.growth[0].edges:,}"
        yield Target(name, growth.times_small, "<=", 2.5, note=growth.note)
    yield _snapshot(report.growth)


def _snapshot(growth: "list[Growth]") -> Target:
    """Of the most edges that were tried; fewer than are wanted can only miss the target."""
    tried = max((one for one in growth if one.capture_s is not None), key=lambda one: one.edges, default=None)
    name, bound = f"snapshot of {SNAPSHOT_EDGES:,} edges (the path stops)", 0.5
    if tried is None or tried.capture_s is None:
        return Target(name, None, "<=", bound, "s")
    if tried.edges < SNAPSHOT_EDGES and tried.capture_s <= bound:
        return Target(name, None, "<=", bound, "s", note=f"{tried.capture_s:.2f} s at {tried.edges:,} edges")
    return Target(f"{name}, tried: {tried.edges:,}", tried.capture_s, "<=", bound, "s")


def _latency(report: "Report") -> Iterator[Target]:
    by_size = {latency.size: latency for latency in report.latency if latency.batches >= LEAST_BATCHES}
    small, large = by_size.get(1_000), by_size.get(10_000)
    few = f"fewer than {LEAST_BATCHES} batches"
    yield Target("p99 / p50, batches of 1,000", small.p99_ms / small.p50_ms if small else None, "<=", 3.0, note=few)
    yield Target("p99, batches of 10,000", large.p99_ms if large else None, "<=", 50.0, "ms", note=few)


def _state(report: "Report") -> Iterator[Target]:
    state = report.state
    yield Target("learned, by edge", state.per_edge if state else None, "<=", 32.0, "bytes")
    yield Target("start to ready", report.ready_s, "<=", 10.0, "s")


def _forest(report: "Report") -> Iterator[Target]:
    for rows, bound in ((100, 20.0), (10_000, 1.8)):
        found = next((one for one in report.forest if one.rows == rows), None)
        yield Target(f"forest / scikit-learn, {rows:,} rows", found.ratio if found else None, ">=", bound)
    worst = max((one.difference for one in report.forest), default=None)
    yield Target("forest - scikit-learn, largest difference", worst, "<=", 1e-12, "")

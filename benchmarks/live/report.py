"""All numbers, what they are held against, and the tables that people read."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Final

from race.shape import Shape
from race.targets import Target
from rich.table import Table

from detector.metrics import STAGES

from . import feed, latency, pace
from .latency import Latency, Live
from .passes import BARE, LOOP, SOURCE, Runner, Turn

ADDS: Final = 1.25
"""Time with all of eastwest over that of a bare consumer of the same topic."""
BEYOND_SECONDS: Final = 1.0
READY_SECONDS: Final = 10.0
LEAST_ALERTS: Final = 100
"""Of fewer nobody can tell a 99th percentile."""
_MARKS: Final = {True: "met", False: "NOT MET", None: "not measured"}


@dataclass(slots=True)
class Report:
    """All numbers, as the JSON file has them."""

    shape: Shape
    machine: dict[str, str]
    runners: list[Runner] = field(default_factory=list)
    live: Live | None = None
    targets: list[Target] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def find(self, name: str, said: str) -> Runner:
        """A contestant by what it reads."""
        return next(one for one in self.runners if (one.name, one.said) == (name, said))

    @property
    def topics(self) -> list[str]:
        """What was read, in order."""
        return list(dict.fromkeys(one.said for one in self.runners))


def document(report: Report) -> dict[str, Any]:
    """Everything that was measured and what follows from it, for JSON."""
    found = asdict(report)
    for one, plain in zip(report.runners, found["runners"], strict=True):
        plain |= {
            "rows_per_second": one.laps.rate,
            "cpu_us_per_row": cpu_us(one),
            "times_bare": times_bare(report, one),
        }
    found["targets"] = [asdict(target) | {"met": target.met} for target in report.targets]
    return found


def cpu_us(one: Runner) -> float:
    """Microseconds of processor time a row."""
    return median(turn.cpu for turn in one.turns) / one.stretch.rows * 1e6


def times_bare(report: Report, one: Runner) -> float:
    """Time over that of the bare consumer, within rounds."""
    return 1 / one.laps.against(report.find(BARE, one.said).laps)


def targets(report: Report) -> Iterator[Target]:
    """What was aimed at."""
    for topic in report.topics:
        name = f"the loop / a bare consumer, time, {topic}"
        yield Target(name, times_bare(report, report.find(LOOP, topic)), "<=", ADDS)
        name = f"KafkaSource.poll / a bare consumer, time, {topic}"
        yield Target(name, times_bare(report, report.find(SOURCE, topic)), "<=", 1.0)
    if report.live is None:
        return
    for one in report.live.latencies:
        name, few = f"p99 beyond the reorder buffer, {one.name}", f"{one.alerts} alerts"
        reached = one.p99 - one.floor if one.alerts >= LEAST_ALERTS else None
        yield Target(name, reached, "<=", BEYOND_SECONDS, "s", note=few)
    yield Target("start to ready, with a state", report.live.ready_s, "<=", READY_SECONDS, "s")


# --- tables ---


def tables(report: Report) -> Iterator[Table]:
    """All of them, in the order in which they were measured."""
    yield rate_table(report)
    yield stage_table(report)
    if report.live is not None:
        yield latency_table(report.live.latencies)
        yield state_table(report, report.live)
    yield target_table(report)


def rate_table(report: Report) -> Table:
    """Rows a second and processor time."""
    shape = report.shape
    title = f"One core, {shape.hosts:,} hosts, {shape.edges:,} known edges, Zeek JSON, {feed.CODEC}"
    table = _table(title, "topic", "who", right=("rows", "records", "rows/s", "CPU µs/row", "x bare's time"))
    for one in report.runners:
        table.add_row(
            one.said, one.name, f"{one.stretch.rows:,}", f"{one.stretch.records:,}", f"{one.laps.rate:,.0f}",
            f"{cpu_us(one):.1f}", f"{times_bare(report, one):.2f}",
        )  # fmt: skip
    return table


def stage_table(report: Report) -> Table:
    """Where the loop's time goes, by its own metrics."""
    table = _table("Where the loop's time goes", "topic", "stage", right=("µs/row", "share"))
    for one in report.runners:
        if one.name != LOOP:
            continue
        total = median(turn.seconds for turn in one.turns)
        for stage, seconds in _stages(one.turns).items():
            table.add_row(one.said, stage, f"{seconds / one.stretch.rows * 1e6:.2f}", f"{seconds / total:.1%}")
        table.add_section()
    return table


def _stages(turns: list[Turn]) -> dict[str, float]:
    found = {stage: median(turn.stages[stage] for turn in turns) for stage in STAGES}
    return found | {"other": median(turn.seconds - sum(turn.stages.values()) for turn in turns)}


def latency_table(latencies: list[Latency]) -> Table:
    """From the row to the line in the file."""
    floor = latencies[0].floor
    title = f"From a row to the line about it; {floor:g} s of it are the reorder buffer's (2 x reorder_seconds)"
    columns = ("rows/s", "sent", "alerts", "p50 s", "p99 s", "most s", "p50 beyond", "p99 beyond", "producer late s")
    table = _table(title, "pace", right=columns)
    for one in latencies:
        table.add_row(
            one.name, f"{one.sent.rate:,.0f}", f"{one.sent.flows + one.sent.acts:,}", str(one.alerts), f"{one.p50:.2f}",
            f"{one.p99:.2f}", f"{one.most:.2f}", f"{one.p50 - floor:.2f}", f"{one.p99 - floor:.2f}",
            f"{one.sent.behind:.2f}",
        )  # fmt: skip
    return table


def state_table(report: Report, live: Live) -> Table:
    """Start, checkpoints, and where the rows went."""
    turns = [turn for one in report.runners if one.name == LOOP for turn in one.turns]
    table = _table(f"The service at {live.edges:,} edges", "what", right=("value",))
    rows: dict[str, str] = {
        "start to ready, no state, s": f"{live.first_ready_s:.1f}",
        "start to ready, from a checkpoint, s": f"{live.ready_s:.1f}",
        "of it: the state, one core, s": f"{median(turn.restore_s for turn in turns):.2f}",
        f"checkpoint while rows come ({live.checkpoints}): the path stops, s": f"{live.pause_s:.3f}",
        "checkpoint while rows come: until on the disk, s": f"{live.checkpoint_s:.2f}",
        "checkpoint, MB": f"{live.checkpoint_bytes / 1e6:.1f}",
        "checkpoint at the end of a pass: the path stops, s": f"{median(turn.pause_s for turn in turns):.3f}",
        "checkpoint at the end of a pass: until on the disk, s": f"{median(turn.checkpoint_s for turn in turns):.2f}",
        "lines in the alert file": f"{live.told:,}",
    }
    for what, value in (rows | {f"rows {outcome}": f"{count:,}" for outcome, count in live.outcomes.items()}).items():
        table.add_row(what, value)
    return table


def target_table(report: Report) -> Table:
    """Reached against wanted."""
    table = _table("Targets", "target", right=("reached", "wanted", ""))
    for target in report.targets:
        reached = target.note if target.reached is None else f"{target.reached:.3g} {target.unit}"
        table.add_row(target.name, reached, f"{target.sense} {target.bound:.3g} {target.unit}", _MARKS[target.met])
    return table


def _table(title: str, *columns: str, right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    for column in right:
        table.add_column(column, justify="right")
    return table


def facts() -> dict[str, str]:
    """What a reader of the JSON file needs beside the numbers."""
    return {
        "codec": feed.CODEC,
        "batch_bytes": str(feed.BATCH_BYTES),
        "lines_a_record": str(feed.MANY),
        "acts_a_second": str(pace.ACTS_A_SECOND),
        "engine_of_latency": str(latency.ENGINE),
    }

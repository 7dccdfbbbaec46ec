"""What is run, in which order, by how many processes; and everything that came of it."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from . import ablation, captures, darpa, tables, trials
from .ablation import Ablation
from .captures import Tried
from .clock import Clock
from .darpa import Darpa
from .plants import ABLATION_SEED, LARGE, LARGE_SEEDS, MIDDLE, SMALL, SMALL_SEEDS, TUNING_SEEDS, Pace, Trial
from .recorded import Recorded, judge_lanl, judge_optc
from .trials import Result

PACES: Final[tuple[Pace, ...]] = ("minutes", "hours")
ABLATION_TASKS: Final = 2
"""Parts an ablation is cut into, so that two processes share it."""
ONE_THREAD: Final = ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
REPOSITORY: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work for a process; ``cost`` puts long ones first."""

    name: str
    work: Callable[[], Any]
    cost: int


@dataclass(slots=True)
class Report:
    """All numbers, as the JSON file has them."""

    plants: list[Result] = field(default_factory=list)
    darpa: Darpa | None = None
    captures: list[Tried] = field(default_factory=list)
    ablation: list[Ablation] = field(default_factory=list)
    recorded: list[Recorded] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def tables(self) -> Iterable[Table]:
        """Everything that was run, for people."""
        pools = tables.groups(self.plants)
        for name, results in pools:
            yield tables.contest_table(name, results)
            yield tables.kinds_table(name, results)
        if pools:
            yield tables.live_table(pools)
        if self.darpa:
            yield tables.darpa_table(self.darpa)
        if self.captures:
            yield tables.captures_table(self.captures)
        for pace in PACES:
            some = [part for part in self.ablation if part.trial.pace == pace]
            if some:
                yield tables.ablation_table(some)
        if self.recorded:
            yield tables.recorded_table(self.recorded)


def shared_data() -> Path | None:
    """The folder of recorded data, or None."""
    folder = Path(os.environ.get("EASTWEST_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    return folder if folder.is_dir() else None


def tasks(parts: Sequence[str], *, quick: bool = False, tuning: bool = False) -> list[Task]:
    """The work of some parts."""
    data = shared_data()
    made: list[Task] = []
    if "plants" in parts:
        small = TUNING_SEEDS if tuning else SMALL_SEEDS
        made += [_plant(Trial(SMALL, pace, seed)) for pace in PACES for seed in (small[:1] if quick else small)]
        large = () if quick or tuning else LARGE_SEEDS
        made += [_plant(Trial(LARGE, pace, seed)) for pace in PACES for seed in large]
    if "ablation" in parts:
        seed = TUNING_SEEDS[0] if tuning else ABLATION_SEED
        made += _ablations([Trial(MIDDLE, pace, seed) for pace in PACES[: 1 if quick else 2]])
    if data and "darpa" in parts:
        made.append(Task("DARPA", partial(darpa.contest, data), 40))
    if data and "captures" in parts:
        seeds = captures.SEEDS[: 1 if quick else None]
        made += [Task(f"captures, seed {seed}", partial(captures.contest, data, seed), 20) for seed in seeds]
    return sorted(made, key=lambda task: -task.cost)


def public(lanl: Path | None, optc: Path | None) -> list[Task]:
    """The work of public sets that a user has."""
    made = [Task("LANL", partial(judge_lanl, lanl), 10_000)] if lanl else []
    return made + ([Task("OpTC", partial(judge_optc, optc), 9_000)] if optc else [])


def _plant(trial: Trial) -> Task:
    return Task(trial.name, partial(trials.judge, trial), trial.size.hosts // 50)


def _ablations(chosen: Sequence[Trial]) -> list[Task]:
    numbers = range(len(ablation.variants()))
    half = -(-len(numbers) // ABLATION_TASKS)
    return [
        Task(f"ablation, {trial.name}, part {part + 1}", partial(ablation.ablate, trial, some), 30)
        for trial in chosen
        for part in range(ABLATION_TASKS)
        if (some := numbers[part * half : (part + 1) * half])
    ]


def run(work: Sequence[Task], processes: int, console: Console) -> Report:
    """Do all tasks; progress goes to the console."""
    if shared_data() is None:
        console.print("No recorded data: DARPA and the captures are left out. See EASTWEST_SHARED_DATA.")
    clock, report = Clock(), Report()
    done = clock.timed("all", lambda: _results(work, processes, console, clock))
    for task in work:
        _enter(report, done[task.name])
    report.seconds = clock.seconds
    return report


def _results(work: Sequence[Task], processes: int, console: Console, clock: Clock) -> dict[str, Any]:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    done: dict[str, Any] = {}
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("benchmark", total=len(work))
        for name, result, seconds in _done(work, processes):
            done[name], clock.seconds[name] = result, seconds
            progress.advance(bar)
            progress.console.print(f"{name}: {seconds:.0f} s", style="dim")
    return done


def _done(work: Sequence[Task], processes: int) -> Iterator[tuple[str, Any, float]]:
    """Name, result and seconds of each task when it ends; one process needs no other."""
    if processes == 1:
        yield from map(_timed, work)
        return
    with _pool(processes) as pool:
        for future in as_completed([pool.submit(_timed, task) for task in work]):
            yield future.result()


def _pool(processes: int) -> ProcessPoolExecutor:
    """Fresh processes of one thread each: a forked one would inherit the threads of Polars."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def _timed(task: Task) -> tuple[str, Any, float]:
    clock = Clock()
    return task.name, clock.timed(task.name, task.work), clock.seconds[task.name]


def _enter(report: Report, result: Any) -> None:
    match result:
        case Result():
            report.plants.append(result)
        case Darpa():
            report.darpa = result
        case Ablation():
            report.ablation.append(result)
        case Recorded():
            report.recorded.append(result)
        case list():
            report.captures += result

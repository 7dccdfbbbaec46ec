"""How far a command is, on standard error: a bar for each stage with rows a second and time left."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from detector import reading


@contextmanager
def bars(console: Console) -> Iterator[reading.Progress]:
    """Gives what is to be called with stage, amount done, amount in all, rows so far; a stage of no rows tells none."""
    columns = (
        TextColumn("{task.description:<6}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[told]}"),
        TimeRemainingColumn(),
    )
    began: dict[str, float] = {}
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as shown:

        def update(stage: str, done: int, total: int, rows: int) -> None:
            if stage not in tasks:
                began[stage] = time.monotonic()
                tasks[stage] = shown.add_task(stage, total=total, told="")
            rate = rows / max(time.monotonic() - began[stage], 1e-3)
            told = f"{rows:>12,} rows  {rate:>9,.0f} rows/s" if rows else ""
            shown.update(tasks[stage], completed=done, total=max(total, 1), told=told)

        yield update

"""Which processor cores a process may use: threads of its own cannot make a contestant look faster than it is."""

import os
from pathlib import Path


def available() -> list[int]:
    """The cores of this process; [] where a process cannot be held to some (macOS)."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def hold_to(cores: list[int]) -> None:
    """All threads of this process, those to come too, run on these cores alone; [] changes nothing."""
    if cores:
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cores)

"""How long things take. The only module of the contest that reads the time of day."""

import time
from collections.abc import Callable
from typing import TypeVar

Made = TypeVar("Made")


class Clock:
    """Collects seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, work: Callable[[], Made]) -> Made:
        """What ``work`` returns."""
        began = time.perf_counter()
        made = work()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - began, 1)
        return made

"""How much memory the service takes, and what it may.

Its tables have bounds, so it does not grow without end. But a process that the system kills when its tables are full
helps nobody: with ``memory.limit_bytes`` it refuses to start when that could happen, and does not read on while a
checkpoint is written and memory is short. Neither changes what is told.
"""

import os
from pathlib import Path
from typing import Final

from detector.config import Settings
from detector.errors import ConfigError
from detector.service.settings import ServiceSettings

SHORT: Final = 0.85
"""Share of the limit from which memory is short: the rest is what a portion and an answer of the brokers take."""

REST: Final = 1 << 30
"""Bytes for all but tables: interpreter, compiled kernels, forest, incidents, one portion (measured: 0.6 GB)."""

_WIDTHS: Final = {2: 15, 3: 1, 13: 1}  # cells an entry: tables with ``max_entries``; a test holds it to the engine
_HOST_WIDTHS: Final = (18, 6, 2)  # of the tables with a quarter of that
_HOST_SHARE: Final = 4
_SEEN_TABLES: Final = 2  # with ``max_seen``
_SMALLEST: Final = 1 << 12  # slots of a table, see `state.counts`
_LOAD: Final = 0.6
_STATM: Final = Path("/proc/self/statm")


def needed(settings: Settings) -> int:
    """Bytes with all tables full, one of them being evicted, and a copy of their entries for a checkpoint."""
    widths = [width for width, tables in _WIDTHS.items() for _ in range(tables)]
    tables = [(settings.max_entries, width) for width in widths] + [(settings.max_seen, 2)] * _SEEN_TABLES
    tables += [(settings.max_entries // _HOST_SHARE, width) for width in _HOST_WIDTHS]
    slots = [_slots(entries) * _bytes(width) for entries, width in tables]
    return sum(slots) + max(slots) + sum(entries * _bytes(width) for entries, width in tables) + REST


def require(settings: ServiceSettings) -> None:
    """That what the tables may hold fits.

    Raises:
        ConfigError: it does not; says which bound would.
    """
    limit, wish = settings.memory.limit_bytes, settings.engine
    engines = 1 if settings.model is None or settings.model.shadow is None else 2
    most = engines * needed(wish)
    if limit is None or most <= limit:
        return
    fitting = wish.max_entries
    while fitting > _SMALLEST and engines * needed(wish.model_copy(update={"max_entries": fitting})) > limit:
        fitting //= 2
    raise ConfigError(
        "memory.limit_bytes",
        str(limit),
        f"full tables take up to {most} bytes: raise it, or set engine.max_entries to {fitting} or less",
    )


def short(limit: int | None) -> bool:
    """Whether this process has nearly reached ``limit``. Without one, or where the system does not say, never."""
    return limit is not None and resident() > SHORT * limit


def resident() -> int:
    """Bytes of memory that this process has; 0 where there is no ``/proc`` (proc_pid_statm(5))."""
    try:
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _slots(entries: int) -> int:
    """Of a table that holds so many."""
    slots = _SMALLEST
    while entries > slots * _LOAD:
        slots *= 2
    return slots


def _bytes(width: int) -> int:
    """Of an entry: key, time, cells, and the hour since which it is there."""
    return 8 * (2 + width) + 4

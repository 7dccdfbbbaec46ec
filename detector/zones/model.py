"""What a check of zones and conduits tells."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Violation:
    """A way between zones that was gone and that no conduit permits. ``attempt``: nobody answered. ``operation`` is
    the class of an act (`assets.plant.act_class`), empty for connections. ``pairs`` of hosts went it, ``count`` times;
    ``sources`` and ``targets`` are the first of them. ``evidence`` is its first record."""

    from_zone: str
    to_zone: str
    service: str
    operation: str
    why: str
    attempt: bool
    count: int
    pairs: int
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    first_seen: str
    last_seen: str
    evidence: str


@dataclass(frozen=True, slots=True)
class ConduitUse:
    """How much went over a conduit of the plant file; ``unused`` are its services that nobody used."""

    place: int
    name: str | None
    from_zone: str | None
    to_zone: str | None
    services: tuple[str, ...]
    operations: tuple[str, ...]
    count: int
    unused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of it; the files are written."""

    violations: list[Violation]
    conduits: list[ConduitUse]
    cells: dict[tuple[str, str], list[int]]
    summary: dict[str, Any]
    out: Path


@dataclass(frozen=True, slots=True)
class Proposed:
    """A conduit that is proposed, and what speaks for it in the part of history it was learned from. ``hosts`` are
    pairs that went it, none where there are many."""

    from_zone: str
    to_zone: str
    services: tuple[str, ...]
    operations: tuple[str, ...]
    pairs: int
    count: int
    hours: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A way that is not proposed: seen too seldom while learning, or only afterwards (it would have been blocked)."""

    from_zone: str
    to_zone: str
    service: str
    operation: str
    count: int
    hours: int
    pairs: int
    hosts: tuple[str, ...]
    first_seen: str
    why: str

"""From zone to zone: where alerts and the moves of incidents went, as one table."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detector.alerts.model import SEVERITIES, Alert, Incident
from detector.backtest.words import ordered_zones

MAX_ZONES: Final = 16  # rows and columns; the busiest


@dataclass(frozen=True, slots=True)
class Crossing:
    """What went from one zone to another."""

    alerts: int
    severity: str  # the worst of its alerts; of moves that are no alert alone: info
    incidents: tuple[int, ...]  # numbers


@dataclass(frozen=True, slots=True)
class Overview:
    """Zones from the office down to the controllers, and what went between them.

    Attributes:
        cells: by source and target zone; pairs without anything are absent.
        left_out: quieter zones beyond `MAX_ZONES`.
    """

    zones: tuple[tuple[str, float | None], ...]
    cells: dict[tuple[str, str], Crossing]
    left_out: int


def overview(alerts: Sequence[Alert], incidents: Sequence[Incident], levels: dict[str, float | None]) -> Overview:
    """Count open alerts, and name the incidents with a move, by source and target zone.

    Args:
        incidents: those that the report draws; their numbers are places, from 1.
    """
    found: dict[tuple[str, str], list[Alert]] = defaultdict(list)
    moves: dict[tuple[str, str], list[int]] = defaultdict(list)
    for alert in alerts:
        found[alert.src_zone, alert.dst_zone].append(alert)
    for number, incident in enumerate(incidents, 1):
        for pair in dict.fromkeys((step.src_zone, step.dst_zone) for step in incident.path):
            moves[pair].append(number)
    pairs = dict.fromkeys([*found, *moves])
    busy = Counter[str]()
    for pair in pairs:
        for zone in set(pair):
            busy[zone] += len(found[pair]) + len(moves[pair])
    shown = {zone for zone, _ in sorted(busy.items(), key=lambda one: (-one[1], one[0]))[:MAX_ZONES]}
    declared = [zone for zone in levels if zone in shown]
    cells = {
        pair: Crossing(len(found[pair]), _worst(found[pair]), tuple(moves[pair]))
        for pair in pairs
        if shown.issuperset(pair)
    }
    return Overview(tuple(ordered_zones([*declared, *sorted(shown)], levels)), cells, len(busy) - len(shown))


def _worst(alerts: Sequence[Alert]) -> str:
    known = [SEVERITIES.index(alert.severity) for alert in alerts if alert.severity in SEVERITIES]
    return SEVERITIES[max(known)] if known else "info"

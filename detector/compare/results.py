"""A folder that a backtest wrote, read back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from detector.alerts.model import Alert, Incident, alert_of, incident_of
from detector.backtest.asked import NAME as RUN
from detector.backtest.asked import Asked, read_asked
from detector.backtest.labels import parse_time
from detector.errors import ConfigError

_KEYS: Final = ("version", "input", "time", "alerts", "incidents", "settings")
"""Of `summary.json`, without which nothing can be compared."""


@dataclass(frozen=True, slots=True)
class Found:
    """What one run found.

    Args:
        name: as the user named the folder.
        asked: what the run was asked for; None where an earlier version wrote the folder.
        began, ended: of the stretch that was judged, µs; None when there was none.
    """

    name: str
    summary: dict[str, Any]
    asked: Asked | None
    alerts: tuple[Alert, ...]
    incidents: tuple[Incident, ...]
    began: int | None
    ended: int | None


def read_result(folder: Path) -> Found:
    """Read a folder of results.

    Raises:
        ConfigError: it is none, or another version wrote it; says what to do.
    """
    summary = _summary(folder / "summary.json")
    wish = read_asked(folder) if (folder / RUN).exists() else None
    alerts = tuple(_made(folder / "alerts.ndjson", alert_of))
    incidents = tuple(_made(folder / "incidents.ndjson", incident_of))
    first, last = (summary["time"].get(name) for name in ("first", "last"))
    began = None if first is None else parse_time(first)
    if began is not None and wish is not None and wish.train_until is not None:
        began = max(began, wish.train_until)
    ended = None if last is None else parse_time(last)
    return Found(str(folder), summary, wish, alerts, incidents, began, ended)


def _summary(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(str(path.parent), "", "holds no summary.json: name a folder that a backtest wrote")
    try:
        plain = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise ConfigError(str(path), "", f"cannot be read as JSON: {problem}") from problem
    missing = [key for key in _KEYS if not isinstance(plain, dict) or key not in plain]
    if missing:
        raise ConfigError(str(path), missing[0], "is missing: another version wrote it; run the backtest again")
    return dict(plain)


def _made(path: Path, make: Any) -> list[Any]:
    """The records of a file.

    Raises:
        ConfigError: one of them has other fields than those of this version.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as problem:
        raise ConfigError(str(path), "", f"cannot be read: {problem}") from problem
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(make(orjson.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            raise ConfigError(
                str(path), f"line {number}", f"is no record of this version ({problem}); run the backtest again"
            ) from problem
    return records

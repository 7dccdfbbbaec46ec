"""What an earlier backtest or service told of two hosts: on those days they speak for no conduit."""

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from detector.errors import UnreadableInput
from detector.zones.support import Alerted

_DAY_S: Final = 86_400
_DECIDED: Final = ("suppressed", "learned")  # alerts that somebody called harmless


def alerted(result: Path) -> Alerted:
    """Pairs of hosts and days out of a backtest's result folder: of alerts that are open, and of incidents.

    Raises:
        UnreadableInput: a file is missing, or not what a backtest writes.
    """
    found: dict[tuple[str, str], set[int]] = defaultdict(set)
    for name, acts in (("alerts.ndjson", _open), ("incidents.ndjson", _steps)):
        file = result / name
        try:
            for line in file.read_bytes().splitlines():
                for act in acts(orjson.loads(line)):
                    first, last = (_day(act[key]) for key in ("ts", "last_ts" if act.get("last_ts") else "ts"))
                    found[act["src"], act["dst"]].update(range(first, last + 1))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            raise UnreadableInput(f"{file}: {problem}") from problem
    return found


def _open(alert: dict[str, Any]) -> list[dict[str, Any]]:
    return [] if alert["status"] in _DECIDED else [alert]


def _steps(incident: dict[str, Any]) -> list[dict[str, Any]]:
    return list(incident["path"])


def _day(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() // _DAY_S)

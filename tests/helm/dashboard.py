"""The dashboard's panels and what they ask of Prometheus."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).resolve().parents[2] / "helm" / "eastwest" / "dashboards" / "eastwest.json"
DASHBOARD: dict[str, Any] = json.loads(FILE.read_text("utf-8"))


class Query(NamedTuple):
    """One of a panel."""

    panel: str
    expression: str


def queries(window: str = "1m") -> Iterator[Query]:
    """With variables as Grafana fills them in when all is chosen.

    Args:
        window: what is four times the interval of scrapes there.
    """
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", window)
            yield Query(panel["title"], filled.replace("$namespace", ".*").replace("$job", ".*"))

"""`report.html`: one page that works without network, scripts or trust in what the logs say.

Every string of a log is the attacker's. The template escapes all of them, positions and sizes of drawings
come from counts only, and `words.visible` spells out what a browser or a terminal would obey instead of show.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import jinja2

from detector.alerts.attack import named
from detector.alerts.model import Alert, Incident
from detector.backtest.paths import Graph, graph
from detector.backtest.timeline import MAX_INCIDENTS, Timeline, chart
from detector.backtest.words import amount, how_long, level_name, one_in, ordered_zones, stamp, visible
from detector.correlate.entities import DAY_US, HALF_LIFE_US, RankedHost
from detector.renderings import pages
from detector.score.zones import ZonePhases, least_known

MAX_ALERTS: Final = 100  # shown; all are in alerts.ndjson
MAX_HOPS: Final = 200  # of one incident in its table
MAX_HOSTS: Final = 10  # of those ranked; all are in entities.ndjson
MAX_ZONES: Final = 50


@dataclass(frozen=True, slots=True)
class View:
    """All that the report shows.

    Attributes:
        summary: the content of ``summary.json``.
        zones: name and Purdue level; None where no level was declared.
        hosts: ranked, first comes first.
    """

    summary: dict[str, Any]
    alerts: list[Alert]
    incidents: list[Incident]
    timeline: Timeline
    zones: dict[str, float | None]
    hosts: Sequence[RankedHost] = ()
    phases: Sequence[ZonePhases] = ()


def render(view: View) -> str:
    """The page. The same view gives the same page, byte for byte."""
    undecided = [alert for alert in view.alerts if alert.status == "open"]
    strongest = sorted(undecided, key=lambda alert: (-alert.score, alert.ts, alert.alert_id))
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            view=view,
            summary=view.summary,
            chart=chart(view.timeline, view.incidents),
            incidents=_drawn(view),
            numbers={incident.incident_id: number for number, incident in enumerate(view.incidents[:MAX_INCIDENTS], 1)},
            zones=ordered_zones(view.zones, view.zones),
            strongest=strongest[:MAX_ALERTS],
            open=len(undecided),
            hosts=view.hosts[:MAX_HOSTS],
            half_life_days=HALF_LIFE_US // DAY_US,
            phases=least_known(view.phases)[:MAX_ZONES],
            max_hops=MAX_HOPS,
        )
    )
    return visible(page, keep="\n")


def _drawn(view: View) -> list[tuple[Incident, Graph]]:
    return [(incident, graph(incident, view.zones)) for incident in view.incidents[:MAX_INCIDENTS]]


def _environment() -> jinja2.Environment:
    environment = pages.environment("detector.backtest")
    environment.filters |= {
        "how_long": how_long,
        "level": level_name,
        "amount": amount,
        "one_in": one_in,
        "stamp": stamp,
        "technique": named,
    }
    return environment

"""`report.html`: one page that works without network, and without trust in what the logs say.

Every string of a log is the attacker's. The template escapes all of them, positions and sizes of drawings
come from counts only, and `words.visible` spells out what a browser or a terminal would obey instead of show.
The page is whole without scripts. The one it has, `report.js`, sorts and filters; the policy allows it by its hash.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from detector.alerts.attack import named
from detector.alerts.model import SEVERITIES, Alert, Incident
from detector.backtest.hosts import host_pages, numbers_of
from detector.backtest.overview import overview
from detector.backtest.paths import graph
from detector.backtest.timeline import MAX_INCIDENTS, Timeline, chart
from detector.backtest.words import amount, how_long, level_name, one_in, ordered_zones, stamp, visible
from detector.correlate.entities import DAY_US, HALF_LIFE_US, RankedHost
from detector.renderings import pages
from detector.score.zones import ZonePhases, least_known

MAX_ALERTS: Final = 2_000  # shown: 25 a day for eleven weeks; all are in alerts.ndjson
SCREEN: Final = 100  # of the alerts shown, how many the script has laid out at once; thousands would take seconds
MAX_HOPS: Final = 200  # of one incident in its table
MAX_HOSTS: Final = 10  # of those ranked, in the table to look at first
MAX_HOST_PAGES: Final = 100  # of those ranked; all are in entities.ndjson
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
    shown = sorted(view.alerts, key=lambda alert: (alert.status != "open", -alert.score, alert.ts, alert.alert_id))
    shown = shown[:MAX_ALERTS]
    alert_numbers = {alert.alert_id: number for number, alert in enumerate(shown, 1)}
    incidents = view.incidents[:MAX_INCIDENTS]
    undecided = [alert for alert in view.alerts if alert.status == "open"]
    numbers = {incident.incident_id: number for number, incident in enumerate(incidents, 1)}
    pages = host_pages(view.hosts[:MAX_HOST_PAGES], shown, numbers, view.timeline)
    script = files(__package__).joinpath("report.js").read_text("utf-8")
    page = (
        _environment(alert_numbers)
        .get_template("report.html.j2")
        .render(
            view=view,
            summary=view.summary,
            chart=chart(view.timeline, view.incidents),
            crossings=overview(undecided, incidents, view.zones),
            incidents=[(incident, graph(incident, view.zones)) for incident in incidents],
            numbers=numbers,
            zones=ordered_zones(view.zones, view.zones),
            shown=shown,
            decided=len(view.alerts) - len(undecided),
            severities=SEVERITIES,
            screen=SCREEN,
            hosts=view.hosts[:MAX_HOSTS],
            pages=pages,
            host_numbers=numbers_of(pages),
            half_life_days=HALF_LIFE_US // DAY_US,
            phases=least_known(view.phases)[:MAX_ZONES],
            max_hops=MAX_HOPS,
            script=Markup(script),  # noqa: S704 -- ours, and without a value in it
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )
    return visible(page, keep="\n")


def _environment(alert_numbers: dict[str, int]) -> jinja2.Environment:
    def numbered(ids: Iterable[str]) -> list[int]:
        """The numbers of those of the alerts that the page shows."""
        return sorted(alert_numbers[one] for one in ids if one in alert_numbers)

    environment = pages.environment("detector.backtest")
    environment.filters |= {
        "how_long": how_long,
        "level": level_name,
        "amount": amount,
        "fragment": lambda text: quote(visible(text), safe=""),  # as the page shows it, for a link to a filter
        "numbered": numbered,
        "one_in": one_in,
        "stamp": stamp,
        "technique": named,
    }
    return environment

"""Plots for notebooks: each takes what `api` returns and gives a figure of matplotlib (extra ``notebooks``)."""

from io import BytesIO
from typing import TYPE_CHECKING, Final

import polars as pl

from detector.api import Logs, Scores
from detector.errors import MissingLibrary

try:
    from matplotlib.figure import Figure
except ImportError as problem:
    raise MissingLibrary("plots need matplotlib: pip install 'eastwest[notebooks]'") from problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS: Final = {"low": "#7aa6c2", "medium": "#d9a441", "high": "#c8553d", "critical": "#7b1e3a"}
_QUIET: Final = "#9aa5b1"
_WIDE: Final = (9.0, 3.2)  # inches
_DPI: Final = 80  # a plot is some 20 kB
_MOST: Final = 12  # bars, or lines of hosts, that can be read


class Plot(Figure):
    """A figure that a notebook shows by itself, without pyplot's state."""

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        self.savefig(image, format="png", dpi=_DPI)
        return image.getvalue()


def activity(logs: Logs) -> Plot:
    """When a network is busy: conversations by weekday and hour, UTC."""
    figure, axes = _axes()
    counts = logs.flows.group_by(day=pl.col("ts").dt.weekday(), hour=pl.col("ts").dt.hour()).len().sort("day", "hour")
    grid = [[0] * 24 for _ in range(7)]
    for day, hour, rows in counts.iter_rows():
        grid[day - 1][hour] = rows
    axes.imshow(grid, aspect="auto", cmap="Blues")
    axes.set_yticks(range(7), ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    axes.set_xlabel("hour, UTC")
    axes.set_title("conversations")
    return figure


def services(logs: Logs) -> Plot:
    """What is used most: conversations by port of the responder."""
    figure, axes = _axes()
    top = logs.flows.group_by("proto", "resp_p").len().sort(["len", "proto", "resp_p"], descending=[True, False, False])
    named = [(f"{proto} {port}", rows) for proto, port, rows in top.head(_MOST).iter_rows()][::-1]
    axes.barh([name for name, _ in named], [rows for _, rows in named], color=_QUIET)
    axes.set_xscale("log")
    axes.set_title("conversations by service")
    return figure


def timeline(scores: Scores) -> Plot:
    """Findings an hour, and the alerts among them by severity."""
    figure, axes = _axes()
    strange = scores.findings.filter("finding").group_by(pl.col("ts").dt.truncate("1h")).len().sort("ts")
    axes.bar(strange["ts"].to_list(), strange["len"].to_list(), width=1 / 24, color=_QUIET, label="findings an hour")
    above = axes.twinx()
    for severity, colour in _COLOURS.items():
        mine = scores.alerts.filter(pl.col("severity") == severity)
        above.scatter(mine["ts"].to_list(), mine["score"].to_list(), s=18, color=colour, label=severity)
    axes.set_ylabel("findings an hour")
    above.set_ylabel("score of alerts, -log10 p")
    above.legend(loc="upper left", fontsize="small", frameon=False)
    figure.autofmt_xdate()
    return figure


def path(scores: Scores, incident_id: str) -> Plot:
    """The hops of an incident, from host to host in time.

    Raises:
        KeyError: there is no such incident.
    """
    hops = scores.incidents.filter(pl.col("incident_id") == incident_id).sort("ts")
    if hops.is_empty():
        raise KeyError(incident_id)
    hosts = list(dict.fromkeys(host for pair in hops.select("src", "dst").iter_rows() for host in pair))
    figure, axes = _axes(0.45 * len(hosts) + 1.2)
    for number, (ts, src, dst, service) in enumerate(hops.select("ts", "src", "dst", "service").iter_rows()):
        axes.annotate(
            "", (number, hosts.index(dst)), (number, hosts.index(src)),
            arrowprops={"arrowstyle": "->", "color": _COLOURS["high"], "lw": 1.6},
        )  # fmt: skip
        axes.text(number + 0.06, (hosts.index(src) + hosts.index(dst)) / 2, f"{service}\n{ts:%d %H:%M}", fontsize=7)
    axes.set_yticks(range(len(hosts)), hosts)
    axes.set_ylim(len(hosts) - 0.5, -0.5)
    axes.set_xlim(-0.5, hops.height)
    axes.set_xticks([])
    return figure


def budget(scores: Scores) -> Plot:
    """Rows a day that are at least so strange: where a threshold gives how many."""
    figure, axes = _axes()
    days = max(float(scores.summary["time"]["judged_days"]), 1.0)
    ranked = scores.findings.filter(~pl.col("taught") & (pl.col("p_value") < 1))["score"].sort(descending=True)
    axes.step(ranked.to_list(), [(place + 1) / days for place in range(len(ranked))], color=_QUIET)
    axes.axhline(scores.summary["alerts"]["budget_per_day"], color=_COLOURS["high"], lw=1)
    axes.set_yscale("log")
    axes.set_xlabel("score, -log10 p")
    axes.set_ylabel("rows a day")
    return figure


def _axes(height: float = _WIDE[1]) -> tuple[Plot, "Axes"]:
    figure = Plot(figsize=(_WIDE[0], height), layout="constrained")
    return figure, figure.subplots()

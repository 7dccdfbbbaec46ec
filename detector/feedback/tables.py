"""Decisions and alerts as an analyst reads them in the terminal. Log strings are the attacker's: all is plain text."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from detector.alerts.decisions import Decisions, Held
from detector.alerts.model import SEVERITIES, Alert, iso
from detector.backtest.labels import parse_time
from detector.backtest.words import stamp, visible

_NO_END = 1 << 62


def decisions_table(decisions: Decisions, now: int) -> RenderableType:
    """All decisions in the order of the file, and whether they hold at ``now`` (µs)."""
    table = _table("Decision", "Acts", "From", "Until", "By", "Why", "Now")
    for one in decisions.held:
        entry = one.entry
        state = "to come" if now < one.holds[0] else "holds" if now < one.holds[1] else "over"
        until = "—" if one.holds[1] >= _NO_END else stamp(iso(one.holds[1]))
        cells = (f"{entry.id}\n{entry.action}", scope_text(one), stamp(iso(one.holds[0])), until, entry.by, entry.why)
        table.add_row(*(Text(visible(cell, keep="\n")) for cell in (*cells, state)))
    return table


def preview_table(decisions: Decisions, alerts: Sequence[Alert]) -> RenderableType:
    """What each decision would relabel of alerts: whenever they were, and of these in its time."""
    table = _table("Decision", "Would relabel", "In its time", "By severity", "For example")
    first = [(covering[0], alert) for alert in alerts if (covering := _covering(decisions, alert))]
    for one in decisions.held:
        mine = [alert for held, alert in first if held is one]
        timely = sum(in_time(one, alert) for alert in mine)
        counts = [(level, sum(alert.severity == level for alert in mine)) for level in reversed(SEVERITIES)]
        severities = ", ".join(f"{count} {level}" for level, count in counts if count) or "—"
        cells = (one.entry.id, f"{len(mine)} of {len(alerts)}", str(timely), severities, mine[0].title if mine else "—")
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table


def explanation(decisions: Decisions, alert: Alert) -> Iterable[Text]:
    """Why an alert has its status, and what the decisions say of acts like it."""
    yield Text(visible(f"{alert.title} ({alert.ts}, {alert.severity})"))
    if alert.decision is None:
        yield Text("status open: no decision covered it when it opened")
    else:
        made = alert.decision
        until = f" until {made.until}" if made.until else ""
        yield Text(visible(f"status {alert.status}: {made.id} by {made.by}{until}: {made.why}"))
    covering = _covering(decisions, alert)
    for one in covering:
        when = "in its time" if in_time(one, alert) else "not in its time"
        yield Text(visible(f"covered by {one.entry.id} ({scope_text(one)}), {when}"))
    if not covering:
        yield Text("no decision in the file covers it")


def log_table(entries: Sequence[dict[str, Any]]) -> RenderableType:
    """The log, first line first."""
    table = _table("#", "At", "By", "What", "About", "Why")
    for entry in entries:
        about = entry.get("alert_id") or entry["decision"]["id"]
        why = entry.get("why") or entry["decision"]["why"]
        cells = (entry["number"], entry["at"][:19], entry["by"], entry.get("verdict", entry["what"]), about, why)
        table.add_row(*(Text(visible(str(cell))) for cell in cells))
    return table


def scope_text(one: Held) -> str:
    """``src 10.1.0.0/16, service smb``."""
    return ", ".join(f"{name} {value}" for name, value in one.entry.scope.named.items())


def in_time(one: Held, alert: Alert) -> bool:
    """Whether an alert began while the decision held."""
    return one.holds[0] <= parse_time(alert.ts) < one.holds[1]


def micros(time: datetime) -> int:
    """µs since the epoch."""
    return round(time.timestamp() * 1_000_000)


def _covering(decisions: Decisions, alert: Alert) -> list[Held]:
    return [one for one in decisions.held if one.entry.scope.covers(alert, alert.src_asset, alert.dst_asset)]


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table

"""What a backtest says in the terminal. Log strings are plain text: no markup, no terminal sequences."""

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from detector.alerts.attack import named
from detector.alerts.model import Alert, Incident, Step
from detector.backtest.report import amount, one_in, stamp, visible

_STYLES: Final = {
    "info": "bold",
    "low": "bold blue",
    "medium": "bold yellow",
    "high": "bold red",
    "critical": "bold white on red",
}
_MAX_HOPS: Final = 20
_CLOCK: Final = 14  # characters of a time without its year
_ROW_KINDS: Final = ("in", "scored", "rejected", "duplicate", "late", "filtered")


def incident_table(incidents: Sequence[Incident]) -> RenderableType:
    """Each incident as a block: a title line, then its hops in order of time."""
    if not incidents:
        return Text("No incidents: no chain of unlikely moves stood out.")
    blocks: list[RenderableType] = []
    for number, incident in enumerate(incidents, 1):
        blocks += [_title(number, incident), _hops(incident)]
        if len(incident.path) > _MAX_HOPS:
            blocks.append(Text(f"    and {len(incident.path) - _MAX_HOPS} more hops", style="dim"))
        blocks.append(Text())
    return Group(*blocks[:-1])


def alert_table(alerts: Sequence[Alert], limit: int = 10) -> RenderableType:
    """The strongest alerts."""
    if not alerts:
        return Text("No alerts. A longer history, --train-until or a higher --alerts-per-day may show more.")
    strongest = sorted(alerts, key=lambda alert: (-alert.score, alert.ts, alert.alert_id))[:limit]
    table = _table("Severity", "Time (UTC)", "Path", "Act", last="How rare")
    for alert in strongest:
        table.add_row(
            _severity(alert.severity),
            Text(visible(stamp(alert.ts)[-_CLOCK:])),
            _move(alert),
            _act(alert.service, (alert.operation,) if alert.operation else (), alert.techniques),
            Text(one_in(alert.p_value)),
        )
    return table


def accounting_table(summary: dict[str, Any]) -> RenderableType:
    """Where every row went, and why some were not scored."""
    rows = summary["rows"]
    table = _table("Rows", last="Count")
    for kind in _ROW_KINDS:
        table.add_row(Text(kind, style="bold" if kind == "in" else ""), Text(amount(rows[kind])))
        for reason, count in summary.get(f"{kind}_reasons", {}).items():
            table.add_row(Text(f"  {visible(reason)}", style="dim"), Text(amount(count), style="dim"))
    for skipped in summary["input"]["skipped"]:
        table.add_row(
            Text(f"skipped {visible(skipped['path'])}: {visible(skipped['reason'])}", style="yellow"),
            Text("—"),
        )
    return table


def labels_table(summary: dict[str, Any]) -> RenderableType:
    """Each labelled campaign and how soon it was found."""
    labels = summary.get("labels")
    if labels is None:
        return Text("No labels were given.")
    table = _table("Campaign", "Found", "First alert (UTC)", "Hops", "Before alert", last="Minutes")
    for row in labels["campaigns"]:
        table.add_row(
            Text(visible(row["campaign"])),
            Text("yes", style="green") if row["found"] else Text("no", style="bold red"),
            Text(visible(stamp(row["first_alert"]))),
            Text(f"{row['hops_found']} of {row['hops']}"),
            Text(_or_dash(row["hops_before_first_alert"])),
            Text(_or_dash(row["minutes_to_detect"])),
        )
    found = (
        f"{labels['campaigns_found']} of {labels['campaigns_total']} campaigns, "
        f"{labels['hops_found']} of {labels['hops_total']} hops; {labels['true_alerts']:,} true alerts, "
        f"{labels['false_alerts']:,} false ({amount(labels['false_alerts_per_day'])} a day)"
    )
    return Group(table, Text(found))


def _table(*names: str, last: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        time = name.startswith("Time")
        table.add_column(name, overflow="fold", no_wrap=time, min_width=_CLOCK if time else None)
    table.add_column(last, justify="right", overflow="fold")
    return table


def _title(number: int, incident: Incident) -> Text:
    hops, hosts = len(incident.path), len(incident.hosts)
    details = f"{hops} hop{'s' if hops > 1 else ''}, {hosts} hosts, from {visible(stamp(incident.first_ts))} UTC"
    return Text.assemble(
        (f"Incident {number} ", "bold"),
        _severity(incident.severity),
        f"  score {incident.score:.2f}, {one_in(incident.p_value)}  ",
        (details, "dim"),
    )


def _hops(incident: Incident) -> Table:
    table = _table("#", "Time (UTC)", "Path", "Act", last="How rare")
    for number, step in enumerate(incident.path[:_MAX_HOPS], 1):
        table.add_row(
            Text(str(number), style="bold"),
            Text(visible(stamp(step.ts)[-_CLOCK:])),
            _move(step),
            _act(", ".join(step.services) or step.service, step.operations, step.techniques),
            Text(one_in(step.p_value)),
        )
    return table


def _move(record: Step | Alert) -> Text:
    """``src → dst``, and below it ``zone → zone``."""
    return Text.assemble(
        f"{visible(record.src)} → {visible(record.dst)}",
        (f"\n{visible(record.src_zone)} → {visible(record.dst_zone)}", "dim"),
    )


def _act(service: str, operations: Sequence[str], techniques: Sequence[str]) -> Text:
    """Service and operations, and below them their ATT&CK techniques."""
    shown = " ".join([visible(service), *(visible(operation) for operation in operations)])
    below = "".join(f"\n{visible(named(technique))}" for technique in techniques)
    return Text.assemble(shown, (below, "dim"))


def _severity(severity: str) -> Text:
    return Text(f" {visible(severity)} ", style=_STYLES.get(severity, "bold"))


def _or_dash(value: float | None) -> str:
    return "—" if value is None else amount(value)

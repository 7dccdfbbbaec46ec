"""What a backtest says in the terminal. Log strings are plain text: no markup, no terminal sequences."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from detector.alerts.attack import named
from detector.alerts.model import Alert, Asset, Incident, Step
from detector.backtest.words import amount, one_in, stamp, visible
from detector.correlate.entities import RankedHost
from detector.score.zones import ZonePhases, least_known

_STYLES: Final = {
    "info": "bold",
    "low": "bold blue",
    "medium": "bold yellow",
    "high": "bold red",
    "critical": "bold white on red",
}
_MAX_HOPS: Final = 20
_MAX_ZONES: Final = 20  # those least protected
_BAR: Final = 16  # characters of a full bar
_PHASE_STYLES: Final = {"protecting": "green", "shadow": "yellow"}
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
    """The strongest alerts that nobody decided about, and how many others there are."""
    decided = sum(alert.status != "open" for alert in alerts)
    alerts = [alert for alert in alerts if alert.status == "open"]
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
    if not decided:
        return table
    return Group(table, Text(f"and {decided:,} that are suppressed or learned by decision", style="dim"))


def host_table(hosts: Sequence[RankedHost], limit: int = 10) -> RenderableType:
    """The hosts that rank highest, with why."""
    if not hosts:
        return Text("No host stands out: there were no findings.")
    table = _table("Host", "", "Importance", "What it did", last="Score")
    for host in hosts[:limit]:
        table.add_row(
            Text.assemble(visible(host.host), (f"\n{visible(host.zone)}", "dim")),
            Text(bar(host.score / max(hosts[0].score, 1e-9), _BAR), style="red"),
            Text.assemble(str(host.importance), (f"\n{visible(host.why)}", "dim")),
            Text.assemble(_deeds(host), (f"\n{visible(host.reasons[0])}" if host.reasons else "", "dim")),
            Text(f"{host.score:.1f}"),
        )
    return table


def phase_table(zones: Sequence[ZonePhases]) -> RenderableType:
    """How far each zone is on the way to protecting; the least protected first."""
    if not zones:
        return Text("No host inside spoke: no learning phases to show.")
    table = _table("Zone", "Phase", "Progress", "Learning", "Shadow", "Protecting", last="Idle")
    ordered = least_known(zones)
    for zone in ordered[:_MAX_ZONES]:
        table.add_row(
            Text(visible(zone.zone)),
            Text(zone.phase, style=_PHASE_STYLES.get(zone.phase, "dim")),
            Text(f"{bar(zone.progress, _BAR)} {zone.progress:4.0%}"),
            *(Text(amount(count)) for count in (zone.learning, zone.shadow, zone.protecting, zone.idle)),
        )
    if len(ordered) <= _MAX_ZONES:
        return table
    return Group(table, Text(f"and {len(ordered) - _MAX_ZONES} zones that are further", style="dim"))


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


def bar(share: float, width: int) -> str:
    """A bar of ``width`` characters, filled to a share of 0 to 1.

    >>> bar(0.5, 4)
    '██░░'
    """
    full = round(min(max(share, 0.0), 1.0) * width)
    return "█" * full + "░" * (width - full)


def _deeds(host: RankedHost) -> str:
    """Counts, and the ATT&CK ids."""
    counts = ((host.findings, "finding"), (host.alerts, "alert"), (len(host.incident_ids), "incident"))
    said = [f"{count:,} {noun}{'s' if count > 1 else ''}" for count, noun in counts if count]
    return ", ".join([*said, *(visible(technique) for technique in host.techniques)])


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
    """``src → dst``, and below it what is declared of them and their zones."""
    known = (record.src_asset, record.dst_asset) if isinstance(record, Alert) else (Asset(), Asset())
    ends = ((record.src_zone, known[0]), (record.dst_zone, known[1]))
    places = (", ".join(word for word in (asset.name or asset.role, zone) if word) for zone, asset in ends)
    return Text.assemble(
        f"{visible(record.src)} → {visible(record.dst)}",
        (f"\n{visible(' → '.join(places))}", "dim"),
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


def beside_table(summaries: Mapping[str, Mapping[str, Any]]) -> RenderableType:
    """Summaries of runs over the same logs, a column each."""
    table = _table("", *list(summaries)[:-1], last=list(summaries)[-1])
    names = {"alerts": "alerts", "incidents": "incidents"}
    rows = {told: [str(summary[name]["count"]) for summary in summaries.values()] for name, told in names.items()}
    if all("labels" in summary for summary in summaries.values()):
        for name in ("false_alerts", "campaigns_found", "hops_found"):
            rows[name.replace("_", " ")] = [str(summary["labels"][name]) for summary in summaries.values()]
    for told, numbers in rows.items():
        table.add_row(told, *numbers)
    return table

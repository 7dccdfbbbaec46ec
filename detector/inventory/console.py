"""The inventory in the terminal. Texts out of logs are plain text: no markup, no terminal sequences."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from detector.assets.roles import ROLES
from detector.inventory.lifecycle import Event
from detector.inventory.model import CRITICALITIES, Asset
from detector.renderings.strings import visible

_STYLES: Final = {"new": "bold yellow", "gone": "dim", "unseen": "dim", "known": "green", "acknowledged": "cyan"}
_WIDTH: Final = 28  # characters of a name
_EVIDENCE: Final = 2
_OFFERS: Final = 4


def asset_table(assets: Sequence[Asset], limit: int) -> Table:
    """The most critical hosts first."""
    ranked = sorted(assets, key=lambda asset: -CRITICALITIES.index(asset.criticality))  # stable: then by address
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("Host", "Role", "Level", "Criticality", "Offers", "Why"):
        table.add_column(title, overflow="fold")
    for asset in ranked[:limit]:
        table.add_row(
            Text.assemble(asset.address, (f"\n{visible(asset.name or '')[:_WIDTH]}", "dim")),
            _role(asset),
            Text("" if asset.level is None else f"{asset.level:g}"),
            Text(asset.criticality),
            Text(", ".join(service.service for service in asset.offers[:_OFFERS])),
            Text(visible("; ".join(asset.evidence[:_EVIDENCE])), style="dim"),
        )
    return table


def _role(asset: Asset) -> Text:
    known = ROLES.get(asset.role)
    words = known.words if known else visible(asset.role)
    sure = "declared" if asset.declared_role else f"{asset.confidence:.0%}"
    text = Text.assemble(words, (f" {sure}", "dim"), (f"\n{asset.state}", _STYLES[asset.state]))
    return text.append(f"\n{asset.contradiction}", style="red") if asset.contradiction else text


def role_table(assets: Sequence[Asset]) -> Table:
    """How many hosts of each role."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("Role", "Hosts", "New", "Approved"):
        table.add_column(title)
    counts = Counter(asset.role for asset in assets)
    for role, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        mine = [asset for asset in assets if asset.role == role]
        new, approved = sum(asset.state == "new" for asset in mine), sum(asset.approved for asset in mine)
        words = ROLES[role].words if role in ROLES else role
        table.add_row(Text(visible(words)), Text(str(count)), Text(str(new)), Text(str(approved)))
    return table


def event_lines(events: Sequence[Event], limit: int) -> Text:
    """What changed since the inventory before."""
    if not events:
        return Text("Nothing changed since the inventory before.")
    lines = [f"{event.event:<12} {event.address} {visible(event.name or '')[:_WIDTH]}" for event in events[:limit]]
    if len(events) > limit:
        lines.append(f"and {len(events) - limit} more in events.ndjson")
    return Text("\n".join(lines))


def accounting(summary: dict[str, Any]) -> Text:
    """Where the records went, and whether a bound was met."""
    rows = summary["rows"]
    told = ", ".join(f"{count:,} {name}" for name, count in rows.items() if name != "in" and count)
    text = Text(f"{rows['in']:,} records: {told or 'none'}")
    for table, share in summary["kept"].items():
        if share < 1:
            text.append(f"\nOnly {share:.0%} of the {table} are counted: there are more than are kept.", style="yellow")
    return text

"""Zones in the terminal. Texts out of logs are plain text: no markup, no terminal sequences."""

from collections.abc import Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from detector.renderings.strings import visible
from detector.zones.grouping import Group
from detector.zones.model import ConduitUse, Violation

_HOSTS: Final = 2  # named in a row
_PLACES: Final = 4


def table(*titles: str) -> Table:
    """An empty one."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for title in titles:
        made.add_column(title, overflow="fold")
    return made


def violation_table(violations: Sequence[Violation], limit: int) -> Table:
    """What no conduit permits, answered ways first."""
    made = table("From", "To", "Service", "Operation", "Times", "Hosts", "Why")
    for one in violations[:limit]:
        made.add_row(
            Text(visible(one.from_zone)),
            Text(visible(one.to_zone)),
            Text(one.service + (" (attempt)" if one.attempt else ""), style="dim" if one.attempt else "red"),
            Text(visible(one.operation)),
            Text(f"{one.count:,}"),
            Text(_hosts(one)),
            Text(one.why, style="dim"),
        )
    return made


def _hosts(one: Violation) -> str:
    ways = [f"{source} → {target}" for source, target in zip(one.sources, one.targets, strict=False)][:_HOSTS]
    return "\n".join(ways) + (f"\nand {one.pairs - len(ways)} more pairs" if one.pairs > len(ways) else "")


def unused_table(conduits: Sequence[ConduitUse]) -> Table:
    """Conduits, and services of conduits, that nobody used."""
    made = table("Conduit", "From", "To", "Unused")
    for one in conduits:
        if one.unused:
            what = "all of it" if not one.count else ", ".join(one.unused)
            number = f"{one.place}" + (f" {visible(one.name)}" if one.name else "")
            made.add_row(Text(number), Text(one.from_zone or "any"), Text(one.to_zone or "any"), Text(visible(what)))
    return made


def coverage_line(summary: dict[str, Any]) -> Text:
    """What is in no zone."""
    found, kept = summary["coverage"], summary["kept"]
    text = Text(
        f"{found['share_of_hosts_without_zone']:.0%} of hosts ({found['hosts_without_zone']:,} of {found['hosts']:,}) "
        f"have no zone; {found['share_of_rows_without_zone']:.0%} of rows have none at either end."
    )
    for name, share in kept.items():
        if share < 1:
            text.append(f"\nOnly {share:.0%} of the {name} are counted: there are more than are kept.", style="yellow")
    return text


def group_table(groups: Sequence[Group], limit: int) -> Table:
    """Zones that are proposed."""
    made = table("Zone", "Level", "Hosts", "Where", "What")
    for group in groups[:limit]:
        places = (*group.networks, *group.hosts)
        where = ", ".join(places[:_PLACES]) + (f" and {len(places) - _PLACES} more" if len(places) > _PLACES else "")
        what = ", ".join(f"{count} {role}" for role, count in group.roles.items())
        made.add_row(group.name, f"{group.level:g}", f"{len(group.members)}", Text(where), Text(what, style="dim"))
    return made


def proposal_line(summary: dict[str, Any]) -> Text:
    """How much of what came later the proposal permits."""
    checked = summary["checked"]
    share = checked["share_permitted"]
    told = "nothing came later to check it with" if share is None else f"{share:.1%} of what came later is permitted"
    text = Text(
        f"{summary['zones']} zones, {summary['conduits']} conduits; {told}, {checked['ways_blocked']} ways would have "
        f"been blocked; {summary['not_proposed']} ways are not proposed, but left to you to review."
    )
    if summary["learned"]["short"]:
        text.append(
            "\nThe history is short: an intruder's ways look like those of work. A week is good.", style="yellow"
        )
    return text

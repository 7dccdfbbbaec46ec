"""Reach in the terminal. Names are plain text: no markup, no terminal sequences."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from detector.reach.model import Choke, HostReach, Place
from detector.renderings.strings import visible


def host_table(hosts: Sequence[HostReach], limit: int) -> Table:
    """Those that reach most first: hosts within one hop, two, ...; OT hosts and controllers within all."""
    hops = len(hosts[0].used.hops) if hosts else 0
    proposed = any(one.after is not None for one in hosts)
    table = _table("Host", f"Reaches in 1 to {hops} hops", "OT", "Controllers", "Conduits allow")
    if proposed:
        table.add_column("With the proposal")
        table.add_column("It would allow")
    for one in hosts[:limit]:
        cells = [
            _place(one.place),
            Text(_by_hop(one.used.hops)),
            Text(f"{one.used.ot:,}"),
            Text(f"{one.used.controllers:,}", style="red" if one.used.controllers else ""),
            _allowed(one.allowed),
        ]
        if one.after is not None:
            cells += [Text(_by_hop(one.after.hops)), _allowed(one.allowed_after)]
        table.add_row(*cells)
    return table


def zone_table(zones: Sequence[dict[str, Any]]) -> Table:
    """Median and maximum share of all hosts that a host of each zone reaches."""
    proposed = any(zone["after"] is not None for zone in zones)
    table = _table("Zone", "Level", "Hosts", "Reach, median", "max", "OT, max", "Controllers, max", "Conduits allow")
    if proposed:
        table.add_column("Max with the proposal")
    for zone in sorted(zones, key=lambda zone: (-(zone["purdue_level"] or 9.0), zone["zone"])):
        used, after = zone["used"], zone["after"]
        shares = (used["hosts"]["median"], used["hosts"]["max"], used["ot"]["max"], used["controllers"]["max"])
        allowed = "not covered" if zone["allowed"] is None else f"{zone['allowed']['max']:.0%}"
        level = "" if zone["purdue_level"] is None else f"{zone['purdue_level']:g}"
        cells = [visible(zone["zone"]), level, f"{zone['hosts']:,}", *(f"{share:.0%}" for share in shares), allowed]
        table.add_row(*(Text(cell) for cell in cells), *([Text(f"{after['hosts']['max']:.0%}")] if after else []))
    return table


def choke_table(chokes: Sequence[Choke]) -> Table:
    """The hosts that most reach goes through."""
    table = _table("Choke point", "Pairs of hosts that need it", "Share")
    for choke in chokes:
        table.add_row(_place(choke.place), Text(f"{choke.pairs:,}"), Text(f"{choke.share:.0%}"))
    return table


def summary_lines(summary: dict[str, Any]) -> Text:
    """What it was made of, and what it does not hold."""
    rows = summary["rows"]
    told = ", ".join(f"{count:,} {name}" for name, count in rows.items() if name != "in" and count)
    text = Text(f"{rows['in']:,} records: {told or 'none'}")
    text.append(
        f"\n{summary['hosts']:,} hosts, {summary['ot_hosts']:,} of them OT, {summary['controllers']:,} controllers; "
        f"{summary['edges']:,} ways, {summary['contacts']:,} contacts"
    )
    for name, counts in (("Conduits", summary["conduits"]), ("The proposal", summary["proposal"])):
        if counts is not None and counts["permitted"] + counts["denied"]:
            text.append(
                f"\n{name}: of the ways used {counts['permitted']:,} permitted, {counts['denied']:,} denied, "
                f"{counts['not_covered']:,} not covered"
            )
    if summary["slot_seconds"] > 1:
        text.append(f"\nTimes are cut to {summary['slot_seconds']} s: reach is a lower bound.", style="yellow")
    for table, share in summary["kept"].items():
        if share < 1:
            text.append(f"\nOnly {share:.0%} of the {table} are counted: there are more than are kept.", style="yellow")
    return text


def _table(*names: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _place(place: Place) -> Text:
    return Text.assemble(visible(place.host), (f"\n{visible(place.zone)}", "dim"))


def _by_hop(hops: Sequence[int]) -> str:
    return " → ".join(f"{count:,}" for count in hops)


def _allowed(allowed: Sequence[int] | None) -> Text:
    return Text("not covered", style="dim") if allowed is None else Text(_by_hop(allowed))

"""A drill in the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from detector.backtest.words import visible
from detector.drill.written import minutes, percent


def coverage_table(summary: Mapping[str, Any]) -> Table:
    """One row a technique."""
    table = Table(title="Coverage", title_justify="left", box=None, pad_edge=False)
    table.add_column("Technique", no_wrap=True)
    table.add_column("Name")
    table.add_column("Detected", justify="right", no_wrap=True)
    table.add_column("Share (95 %)", no_wrap=True)
    table.add_column("Time to detect (p90)")
    for row in summary["coverage"]:
        if row["injected"]:
            share = f"{percent(row['coverage'])} ({percent(row['low'])} to {percent(row['high'])})"
            wait = f"{minutes(row['minutes_median'])} ({minutes(row['minutes_p90'])})"
            table.add_row(row["technique"], row["name"], f"{row['detected']} of {row['injected']}", share, wait)
        else:
            table.add_row(row["technique"], row["name"], "—", escape(row["reason"]), "")
    return table


def campaign_table(summary: Mapping[str, Any], limit: int) -> Table:
    """One row a campaign, its path and where it was seen first."""
    table = Table(title="\nCampaigns", title_justify="left", box=None, pad_edge=False)
    for name in ("Campaign", "Pace", "Found after", "Hops before", "Path"):
        table.add_column(name, no_wrap=name != "Path")
    for one in summary["campaigns"][:limit]:
        path = [one["hops"][0]["src"]]
        for hop in one["hops"]:
            mark = "[bold]*[/bold]" if hop["first_seen_here"] else ""
            path.append(f"{hop['technique']}{mark} {escape(visible(hop['dst']))}")
        before = "—" if one["hops_before_detection"] is None else str(one["hops_before_detection"])
        after = minutes(one["minutes_to_detect"]) if one["found"] else "not found"
        table.add_row(one["campaign"], one["pace"], after, before, " → ".join(path))
    return table


def told(summary: Mapping[str, Any]) -> str:
    """The sum of it in a few lines."""
    found, control = summary["found"], summary["control"]
    share = f"{percent(found['low'])} to {percent(found['high'])}"
    median, most = minutes(found["minutes_to_detect_median"]), minutes(found["minutes_to_detect_p90"])
    sums = f"{found['found']} of {found['campaigns']} campaigns found (95 %: {share})"
    before = f"Without the drill: {control['alerts']} alerts, {control['alerts_per_day']} a day"
    gone = f"with it {control['gone']} of them went and {control['new_elsewhere']} came that are of no hop"
    lines = [f"\n{sums}; time to detect {median}, nine of ten within {most}", f"{before}; {gone}"]
    lines += [
        f"Pace {row['pace']}: {row['found']} of {row['campaigns']} found, dwell {minutes(row['dwell_minutes_median'])} "
        f"(p90 {minutes(row['dwell_minutes_p90'])})"
        + (f"; pauses of {row['hurried']} shortened, the history is short" if row["hurried"] else "")
        for row in summary["by_pace"]
    ]
    return "\n".join(lines)

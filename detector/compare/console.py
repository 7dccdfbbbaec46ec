"""A comparison in the terminal. Log strings are plain text: no markup, no terminal sequences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from detector.backtest.words import amount, stamp, visible
from detector.compare.matching import APART, FATES, GAINED, LOST, MOVED

Plain = dict[str, Any]
STYLES: Final = {GAINED: "green", LOST: "red", MOVED: "yellow", APART: "dim"}
_ORDER: Final = (GAINED, LOST, MOVED, APART)


def shown(compared: Plain, limit: int) -> RenderableType:
    """Everything, of the alerts at most ``limit`` of each fate."""
    before, after = compared["before"]["folder"], compared["after"]["folder"]
    parts: list[RenderableType] = [Text(f"before: {visible(before)}\nafter:  {visible(after)}", style="bold")]
    parts += [Text(visible(notice), style="yellow") for notice in compared["notices"]]
    if compared["settings"]:
        parts += [Text(), _settings(compared["settings"])]
    parts += [Text(), _fates(compared), Text(), metric_table(compared["metrics"])]
    if compared["campaigns"]:
        parts += [Text(), _campaigns(compared["campaigns"])]
    for name, title in (("incident_pairs", "Incidents"), ("alert_pairs", "Alerts")):
        pairs = [pair for fate in _ORDER for pair in _some(compared[name], fate, limit)]
        if pairs:
            parts += [Text(f"\n{title}", style="bold"), _pairs(pairs), *_more(compared[name], limit)]
    return Group(*parts)


def _some(pairs: Sequence[Plain], fate: str, limit: int) -> list[Plain]:
    return [pair for pair in pairs if pair["fate"] == fate][:limit]


def _more(pairs: Sequence[Plain], limit: int) -> Iterator[Text]:
    for fate in _ORDER:
        count = sum(pair["fate"] == fate for pair in pairs)
        if count > limit:
            yield Text(f"and {count - limit} more {fate}", style="dim")


def _settings(settings: Sequence[Plain]) -> Table:
    table = _table("Setting", "before", "after")
    for one in settings:
        table.add_row(*(Text(visible(str(one[name]))) for name in ("key", "before", "after")))
    return table


def _fates(compared: Plain) -> Table:
    table = _table("", *FATES)
    for name in ("alerts", "incidents"):
        counts = compared[name]
        table.add_row(Text(name), *(Text(f"{counts[fate]:,}", style=STYLES.get(fate, "")) for fate in FATES))
    return table


def metric_table(metrics: Sequence[Plain]) -> RenderableType:
    """Numbers of both with their 95 % intervals; a difference that no interval tells from 0 is dim."""
    table = _table("", "before", "after", "difference")
    for one in metrics:
        span = one["difference_interval"]
        sure = span is not None and not span[0] <= 0.0 <= span[1]
        table.add_row(
            Text(one["name"]),
            Text(told(one, "before")),
            Text(told(one, "after")),
            Text(told(one, "difference"), style="bold" if sure else "dim"),
        )
    methods: dict[str, list[str]] = {}
    for one in metrics:
        methods.setdefault(one["method"], []).append(one["name"])
    notes = [f"95 % interval of {', '.join(names)}: {method}" for method, names in methods.items()]
    return Group(table, *(Text(note, style="dim") for note in notes))


def told(metric: Mapping[str, Any], side: str) -> str:
    """``0.75 [0.3 0.95] 3 of 4``."""
    value, span, counts = metric[side], metric.get(f"{side}_interval"), metric.get(f"{side}_counts")
    if value is None:
        return "—"
    sign = "+" if side == "difference" and value > 0 else ""
    interval = "" if span is None else f" [{_short(span[0])} {_short(span[1])}]"
    of = "" if counts is None else f" {counts[0]} of {counts[1]}"
    return f"{sign}{_short(value)}{interval}{of}"


def _short(value: float) -> str:
    return amount(value) if abs(value) >= 1000 else f"{value:.3g}"


def _campaigns(campaigns: Sequence[Plain]) -> Table:
    table = _table("Campaign", "before", "after")
    for one in campaigns:
        table.add_row(Text(visible(one["campaign"])), *(_fate_of(one, side) for side in ("before", "after")))
    return table


def _fate_of(campaign: Plain, side: str) -> Text:
    one = campaign[side]
    if not one["found"]:
        return Text("not found", style="bold red")
    minutes = "" if one["minutes_to_detect"] is None else f", after {amount(one['minutes_to_detect'])} min"
    return Text(f"{one['hops_found']} of {campaign['hops']} hops{minutes}")


def _pairs(pairs: Sequence[Plain]) -> Table:
    table = _table("Fate", "Time (UTC)", "What", "before", "after")
    for pair in pairs:
        alone = pair["after"] or pair["before"]
        table.add_row(
            Text(pair["fate"], style=STYLES[pair["fate"]]),
            Text(stamp(alone["ts"])),
            Text.assemble(visible(alone["title"]), (f"\nchanged: {', '.join(pair['changed'])}", "dim"))
            if pair["changed"]
            else Text(visible(alone["title"])),
            Text(_side(pair["before"])),
            Text(_side(pair["after"])),
        )
    return table


def _side(one: Plain | None) -> str:
    """Rank, score and severity; what was decided."""
    if one is None:
        return "—"
    status = one.get("status", "open")
    if status != "open":
        return visible(status)
    return f"#{one['rank']} {one['score']:.2f} {visible(one['severity'])}"


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table

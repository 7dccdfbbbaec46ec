"""A sweep in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from detector.backtest.words import stamp, visible
from detector.compare.console import told
from detector.sweep.run import METRICS, value
from detector.sweep.written import named, text

Plain = Mapping[str, Any]
_LABELLED: Final = ("alerts_a_day", "outside_a_day", "campaigns_found", "hops_found", "minutes_to_detect")
_PLAIN: Final = ("alerts_a_day", "urgent_a_day", "incidents_a_day")
_HEADS: Final = {
    "alerts_a_day": "alerts a day", "outside_a_day": "outside labels", "campaigns_found": "campaigns",
    "hops_found": "hops", "minutes_to_detect": "minutes", "urgent_a_day": "high, critical",
    "incidents_a_day": "incidents a day",
}  # fmt: skip


def shown(swept: Plain, limit: int) -> RenderableType:
    """The points, best first where there are labels, and what became of the chosen one."""
    labelled = any(value(point, "hops_found") is not None for point in swept["points"])
    columns = _LABELLED if labelled else _PLAIN
    table = _table("", *swept["grid"], *(_HEADS[name] for name in columns))
    _row(table, "as it is", swept["base"], columns, "dim")
    order = sorted(enumerate(swept["points"]), key=lambda one: (not one[1]["pareto"], one[0]))
    for place, point in order[:limit]:
        chosen = place == swept["chosen"] and swept["split"] is not None
        name = "chosen" if chosen else "none better" if point["pareto"] else ""
        _row(table, name, point, columns, "bold" if chosen else "")
    parts: list[RenderableType] = [table]
    if len(order) > limit:
        parts.append(Text(f"and {len(order) - limit} more", style="dim"))
    if swept["split"] is not None:
        parts += [Text(), _split(swept)]
    return Group(*parts)


def _row(table: Table, name: str, point: Plain, columns: Sequence[str], style: str) -> None:
    settings = (Text(visible(str(text(one))), style=style) for one in point["settings"].values())
    table.add_row(Text(name, style=style), *settings, *(Text(number(point, one), style=style) for one in columns))


def number(point: Plain, name: str) -> str:
    """A number of a point; of a share the counts. Intervals are on the page."""
    found = point["metrics"].get(name)
    return "—" if found is None else _brief(found["value"], found["counts"])


def _brief(share: float | None, counts: Sequence[int] | None) -> str:
    return told({"m": share}, "m") if counts is None or share is None else f"{counts[0]} of {counts[1]}"


def _split(swept: Plain) -> RenderableType:
    if swept["chosen"] is None:
        return Text("No point could be chosen: nothing was found before the split, or all make too many alerts.")
    chosen, base = swept["points"][swept["chosen"]], swept["base"]
    head = Text.assemble(
        ("Chosen by what came before ", "bold"), f"{stamp(swept['split'])} UTC: {visible(named(chosen))}"
    )
    table = _table("", "before: as it is", "chosen", "after: as it is", "chosen", "difference after")
    for metric in swept["later"]["metrics"]:
        column = METRICS.get(metric["name"])
        earlier = ("—", "—") if column is None else (number(base, column), number(chosen, column))
        later = (_brief(metric[side], metric.get(f"{side}_counts")) for side in ("before", "after"))
        table.add_row(*map(Text, (metric["name"], *earlier, *later, told(metric, "difference"))))
    return Group(head, table)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table

"""What people read: one table a question."""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from math import isnan
from typing import Final

from rich.table import Table

from . import metrics
from .ablation import Ablation, Variant
from .captures import TOP, Placement, Tried
from .darpa import CLASSES, Darpa
from .metrics import Member
from .outcome import BUDGETS, READ, Fate, Live, Ranking
from .recorded import Recorded
from .trials import EASTWEST, Result

KINDS: Final[dict[str, Callable[[Fate], bool]]] = {
    "new pair": lambda fate: fate.kind == "new",
    "new operation": lambda fate: fate.kind == "operation",
    "quiet": lambda fate: fate.kind == "quiet",
    "· credential": lambda fate: fate.detail == "credential",
    "· time": lambda fate: fate.detail == "time",
    "· volume": lambda fate: fate.detail == "volume",
    "· provenance": lambda fate: fate.detail == "provenance",
    "supplier": lambda fate: fate.supplier,
    "OT": lambda fate: fate.ot,
}


def groups(results: Sequence[Result]) -> list[tuple[str, list[Result]]]:
    """Results that are reported together, by size and pace."""
    ordered = sorted(results, key=lambda result: (result.trial.size.hosts, result.trial.pace != "minutes"))
    return [(name, list(some)) for name, some in groupby(ordered, key=lambda result: result.trial.group)]


def found(fates: Sequence[Fate]) -> float:
    """Share of campaigns found."""
    return metrics.mean([fate.found for fate in fates])


def contest_table(name: str, results: Sequence[Result]) -> Table:
    """Every scorer: average precision, edge and campaign recall, how early."""
    sizes = ", ".join(f"seed {result.trial.seed}: {result.connections:,} connections" for result in results)
    table = _table(f"Plants, {name} ({sizes})", "scorer")
    for column in ("AP [95 %]", "edges @10/25/50", "campaigns @10/25/50", "@10 [95 %]", "@25 [95 %]"):
        table.add_column(column, justify="right")
    for column in ("before 3rd hop @10/25/50", f"median time, hops before @{READ}"):
        table.add_column(column, justify="right")
    lives = [result.live for result in results]
    table.add_row(
        f"{EASTWEST}, alerts sent",
        "",
        _slashed(_hops_found([live[budget] for live in lives]) for budget in BUDGETS),
        *_campaigns({budget: _pooled(live[budget].fates for live in lives) for budget in BUDGETS}),
    )
    for scorer in results[0].rankings:
        rankings = [result.rankings[scorer] for result in results]
        table.add_row(
            f"{scorer}, ranked" if scorer == EASTWEST else scorer,
            _precision(rankings),
            _slashed(_edges_found(rankings, budget) for budget in BUDGETS),
            *_campaigns({budget: _pooled(one.fates[budget] for one in rankings) for budget in BUDGETS}),
        )
    return table


def kinds_table(name: str, results: Sequence[Result]) -> Table:
    """Which kinds of campaigns are found."""
    table = _table(f"Campaigns found by kind, {name}, at {READ} alerts a day", "scorer")
    every = _pooled(result.live[READ].fates for result in results)
    for kind, belongs in KINDS.items():
        table.add_column(f"{kind}\n({sum(map(belongs, every))})", justify="right")
    table.add_column("first OT acts", justify="right")
    for budget in BUDGETS:
        fates = _pooled(result.live[budget].fates for result in results)
        table.add_row(f"{EASTWEST}, alerts sent @{budget}", *_by_kind(fates))
    for scorer in results[0].rankings:
        table.add_row(scorer, *_by_kind(_pooled(result.rankings[scorer].fates[READ] for result in results)))
    return table


def live_table(pools: Sequence[tuple[str, list[Result]]]) -> Table:
    """What eastwest sent: budget and incidents."""
    table = _table("Alerts and incidents that eastwest sent", "plants")
    columns = ("budget", "alerts/day", "worst week", "false/day", "found", "found or in incident", "in one incident")
    for column in (*columns, "purity", "campaigns/incident", "false incidents/day", "first OT acts"):
        table.add_column(column, justify="right")
    for name, results in pools:
        for budget in BUDGETS:
            table.add_row(name, *_live_row([result.live[budget] for result in results], budget))
    return table


def _live_row(lives: Sequence[Live], budget: int) -> list[str]:
    fates = _pooled(live.fates for live in lives)
    return [
        str(budget),
        f"{metrics.mean(_pooled(live.daily for live in lives)):.1f}",
        _percent(max(live.worst_week for live in lives)),
        f"{metrics.mean(_pooled(live.false_daily for live in lives)):.1f}",
        _percent(found(fates)),
        _percent(metrics.mean([fate.found or fate.listed for fate in fates])),
        _percent(metrics.mean([fate.gathered for fate in fates])),
        _percent(metrics.mean(_pooled(live.purity for live in lives))),
        _number(metrics.mean(_pooled(live.shared for live in lives))),
        f"{metrics.mean([live.false_incidents for live in lives]):.2f}",
        _acts(fates),
    ]


def darpa_table(darpa: Darpa) -> Table:
    """ROC-AUC by class of attack."""
    table = _table("DARPA 1998: ROC-AUC by class of attack, against normal rows", "scorer")
    for kind in CLASSES:
        table.add_column(f"{kind}\n({darpa.rows[kind]:,})", justify="right")
    table.add_column("AP, all", justify="right")
    for scores in darpa.scores:
        table.add_row(scores.name, *(f"{scores.auc[kind]:.3f}" for kind in CLASSES), f"{scores.precision:.3f}")
    return table


def captures_table(tried: Sequence[Tried]) -> Table:
    """Every capture, over all plants and placements."""
    table = _table("Real captures in a quiet week (rank among the day's alerts, 25 a day wanted)", "capture")
    for column in ("tried", f"among the {TOP} strongest", "right technique", "both", "ranks", "pair ranks", "named"):
        table.add_column(column, justify="left" if column == "named" else "right")
    for name in dict.fromkeys(one.capture for one in tried):
        placements = _pooled(one.placements for one in tried if one.capture == name)
        table.add_row(name, *_capture_row(placements))
    return table


def _capture_row(placements: Sequence[Placement]) -> list[str]:
    tops = [one.rank is not None and one.rank <= TOP for one in placements]
    named = dict.fromkeys(name for one in placements for name in one.techniques)
    return [
        str(len(placements)),
        str(sum(tops)),
        str(sum(one.right for one in placements)),
        str(sum(top and one.right for top, one in zip(tops, placements, strict=True))),
        " ".join("-" if one.rank is None else str(one.rank) for one in placements),
        " ".join("-" if one.unit_rank is None else str(one.unit_rank) for one in placements),
        " ".join(named),
    ]


def ablation_table(ablations: Sequence[Ablation]) -> Table:
    """All variants of one plant, in their order."""
    table = _table(f"Ablation, {ablations[0].trial.name}", "models")
    for column in (
        "AP",
        "ranked @10/25",
        "sent @10/25",
        "new @25",
        "operation @25",
        "quiet @25",
        "OT @25",
        "first OT acts",
    ):
        table.add_column(column, justify="right")
    for ablation in ablations:
        for variant in ablation.variants:
            table.add_row(variant.name, *_ablation_row(variant))
    return table


def _ablation_row(variant: Variant) -> list[str]:
    sent = variant.live[READ].fates
    return [
        _number(variant.ranking.precision),
        _slashed(found(variant.ranking.fates[budget]) for budget in variant.live),
        _slashed(found(live.fates) for live in variant.live.values()),
        *(_percent(found([one for one in sent if KINDS[kind](one)])) for kind in list(KINDS)[:3]),
        _percent(found([one for one in sent if one.ot])),
        _acts(sent),
    ]


def recorded_table(recorded: Sequence[Recorded]) -> Table:
    """Public sets of users, ranked by the engine alone."""
    table = _table("Public sets: units (source, target, day) from the first attack on", "set")
    for column in ("units", "attacks", "AP [95 %]", "edges @10/25/50", "campaigns @10/25/50"):
        table.add_column(column, justify="right")
    for one in recorded:
        found_by_budget = (found(fates) for fates in one.ranking.fates.values())
        edges = (_edges_found([one.ranking], budget) for budget in BUDGETS)
        counts = f"{one.ranking.units:,}", f"{one.ranking.edges:,}"
        table.add_row(one.name, *counts, _precision([one.ranking]), _slashed(edges), _slashed(found_by_budget))
    return table


# --- cells ---


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", header_style="dim", pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def _campaigns(fates: dict[int, list[Fate]]) -> list[str]:
    """Found at each budget, with intervals, how early, how soon."""
    minutes = [fate.minutes for fate in fates[READ] if fate.minutes is not None]
    hops = [fate.hops_before for fate in fates[READ] if fate.hops_before is not None]
    return [
        _slashed(found(some) for some in fates.values()),
        *(_with_interval(found(fates[budget]), metrics.bootstrap(fates[budget], found)) for budget in BUDGETS[:2]),
        _slashed(metrics.mean([fate.early for fate in some]) for some in fates.values()),
        f"{_minutes(metrics.median(minutes))}, {metrics.median(hops):.0f}" if minutes else "-",
    ]


def _precision(rankings: Sequence[Ranking]) -> str:
    resampled = [metrics.mean(draw) for draw in zip(*(one.resampled for one in rankings), strict=True)]
    low, high = metrics.interval(resampled)
    return f"{_number(metrics.mean([one.precision for one in rankings]))} [{_number(low)} {_number(high)}]"


def _by_kind(fates: Sequence[Fate]) -> list[str]:
    return [*(_percent(found([one for one in fates if belongs(one)])) for belongs in KINDS.values()), _acts(fates)]


def _acts(fates: Sequence[Fate]) -> str:
    return f"{sum(fate.acts_found for fate in fates)} of {sum(fate.acts for fate in fates)}"


def _hops_found(lives: Sequence[Live]) -> float:
    fates = _pooled(live.fates for live in lives)
    return sum(fate.hops_found for fate in fates) / max(sum(fate.hops for fate in fates), 1)


def _edges_found(rankings: Sequence[Ranking], budget: int) -> float:
    return sum(one.edges_found[budget] for one in rankings) / max(sum(one.edges for one in rankings), 1)


def _pooled(parts: Iterable[Sequence[Member]]) -> list[Member]:
    return [one for part in parts for one in part]


def _slashed(shares: Iterable[float]) -> str:
    return " / ".join(_percent(share) for share in shares)


def _with_interval(share: float, interval: tuple[float, float]) -> str:
    return f"{_percent(share)} [{_percent(interval[0])} {_percent(interval[1])}]"


def _percent(share: float) -> str:
    return "-" if isnan(share) else f"{100 * share:.0f} %"


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _minutes(value: float) -> str:
    if isnan(value):
        return "-"
    return f"{value:.0f} min" if value < 120 else f"{value / 60:.1f} h"

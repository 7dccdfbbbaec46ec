"""A chain of moves in numbers: what each hop and each pause adds, and how often chance makes as much."""

import math
from itertools import pairwise
from typing import Any

from detector.alerts.model import iso
from detector.correlate.chains import GRAIN_US, REACH_US, Chains, Hop


def chain(chains: Chains, hop: Hop) -> dict[str, Any]:
    """The least likely chain that ends with a hop (of two or more, so ``hop.length`` is above 1).

    ``links``: of each hop ``per_day`` (findings a day as strange), ``findings_per_day`` = L at its time, ``nats`` =
    ln(L / per_day), the pause since the one before, ``gap_nats`` = ln(W / pause), and ``arrivals`` = a_u W.
    ``forgotten``: hops before the first that is kept; what they gave is in its ``nats`` and ``arrivals``.
    """
    trail, length = chains.path(hop), hop.length
    forgotten = length - len(trail)
    best = [member.best[forgotten + place] for place, member in enumerate(trail)]
    links = [_first(trail[0], best[0].evidence, best[0].log_paths)]
    for (before, after), (left, right) in zip(pairwise(trail), pairwise(best), strict=True):
        pause = max(after.ts - before.ts, GRAIN_US)
        gap_nats = math.log(REACH_US / pause)
        links.append(
            {
                **_hop(after),
                "nats": right.evidence - left.evidence - gap_nats,
                "pause_minutes": pause / 60e6,
                "gap_nats": gap_nats,
                "arrivals": math.exp(min(right.log_paths - left.log_paths, 700.0)),
            }
        )
    return {
        "length": length,
        "forgotten": forgotten,
        "findings_per_day": hop.background.findings_per_day,
        "links": links,
        "evidence": hop.best[length - 1].evidence,
        "by_chance": hop.chance,
        "by_chance_before": trail[-2].chance if len(trail) > 1 and math.isfinite(trail[-2].chance) else None,
    }


def _first(hop: Hop, nats: float, log_paths: float) -> dict[str, Any]:
    return {**_hop(hop), "nats": nats, "pause_minutes": None, "gap_nats": 0.0,
            "arrivals": math.exp(min(log_paths, 700.0))}  # fmt: skip


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "ts": iso(hop.ts), "src": hop.src, "dst": hop.dst, "per_day": hop.per_day,
        "findings_per_day": hop.background.findings_per_day,
    }  # fmt: skip

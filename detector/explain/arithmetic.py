"""The arithmetic of an explanation, from its parts to the score: who reads it can do it again, and a test does.

Formulas: docs/detection.md. Each function takes a part of what `eastwest explain --json` writes, nothing else.
"""

import math
from typing import Any

from detector.alerts.model import SCORE_DIGITS, SEVERITIES, rounded_p
from detector.correlate.chains import erlang_tail
from detector.score.calibration import BELOW_ONE
from detector.score.fanout import LEAST_USUAL
from detector.score.fusion import FEW_CASES, SMALLEST_P
from detector.score.habits import count_surprise
from detector.score.structure import DIRICHLET
from detector.score.table import DISCOUNT, STRENGTH
from detector.score.volume import byte_surprise

Plain = dict[str, Any]


def p_of(past: Plain, score: float) -> float:
    """A score's p-value among past ones: (1 + at least as high) / (1 + all); beyond the tail's start exponential."""
    tail = past["tail"]
    if tail is not None:
        return float((tail["above"] + 1.0) / (past["past"] + 1.0) * math.exp(-(score - tail["start"]) / tail["scale"]))
    return float(min((past["at_least"] + 1.0) / (past["past"] + 1.0), BELOW_ONE))


def structure_score(numbers: Plain) -> float:
    """-ln P(d,k|s) - ln P(s,k|d) and the bonus, nats, from the counts."""
    counts: dict[str, list[float]] = numbers["counts"]

    def base(all_of: str, member: str, of_members: str, hosts: str) -> float:
        role_pair = (counts["roles"][0] + DIRICHLET) / (counts[all_of][0] + DIRICHLET * (counts[all_of][1] + 1.0))
        host = (counts[member][0] + DIRICHLET) / (counts[of_members][0] + DIRICHLET * (counts[hosts][0] + 1.0))
        return role_pair * host

    def surprise(end: str, wide: float) -> float:
        (total, distinct), (all_total, all_distinct) = counts[end], counts[f"role_{end}_all"]
        role = pitman_yor(counts[f"role_{end}"][0], all_total, all_distinct, wide)
        return -math.log(pitman_yor(counts["pair"][0], total, distinct, role))

    forward = surprise("orig", base("roles_orig_all", "resp_in_role", "resp_in_role_all", "resp_role_hosts"))
    reverse = surprise("resp", base("roles_resp_all", "orig_in_role", "orig_in_role_all", "orig_role_hosts"))
    return forward + reverse + (numbers["bonus"] if counts["pair"][0] < DISCOUNT else 0.0)


def backoff_score(numbers: Plain) -> float:
    """Σ -ln P over chains of contexts, relative to the widest or not, and the bonus of what was never seen."""
    score = 0.0
    for levels in numbers["chains"]:
        wide, narrow = levels[0], levels[-1]
        score -= math.log(narrow["p"] / wide["p"] if numbers["relative"] else narrow["p"])
    first = numbers["chains"][0][-1]["symbol"] < DISCOUNT
    return max(score + (numbers["bonus"] if first else 0.0), 0.0)


def surge_score(told: Plain) -> float:
    """-ln P(as many or more) of an hour of volume or a window of fan-out by the law of its mean and shape, or of the
    mean and variance of ln bytes. A surge that recurs has fewer nats: those of its habit."""
    numbers = told["numbers"]
    if told["model"] == "fanout":
        return float(count_surprise(numbers["targets"] - 1.0, max(numbers["mean"], LEAST_USUAL), numbers["shape"]))
    if "variance" in numbers:
        seen = math.log(numbers["seen"])
        return float(byte_surprise(seen, numbers["mean"], numbers["variance"], numbers["hours"]))
    return float(count_surprise(numbers["seen"] - 1.0, numbers["mean"] * numbers["exposure"], numbers["shape"]))


def pitman_yor(count: float, total: float, distinct: float, wide: float) -> float:
    """P of a symbol in a context that falls back on a wider one."""
    return (max(count - DISCOUNT, 0.0) + (STRENGTH + DISCOUNT * distinct) * wide) / (total + STRENGTH)


def model_p(told: Plain) -> float:
    """The p-value of a model from its score and its past."""
    numbers, past = told["numbers"], told["past"]
    if "carried" in numbers:
        held = numbers["carried"]
        return float(min(held["p_value"] * held["targets"] * (held["targets"] + 1.0), BELOW_ONE))
    p = math.exp(-told["score"] / 2.0) if past is None else p_of(past, max(told["score"], 0.0))
    odds = numbers.get("odds", 1.0)
    return min(p * odds, BELOW_ONE) if odds > 1.0 else p


def merged_sum(merged: Plain, common: float, rare: float) -> float:
    """S: the parts of the row, or, when it makes its case stranger, the largest of each in the case so far."""
    own, case, stranger = 0.0, 0.0, merged["began"] is None
    for one in merged["opinions"]:
        rate = max(one["p"], one["least"]) * one["per_day"] / one["share"] * one["odds"]
        nats = max(math.log(common / max(rate, rare)), 0.0) if one["p"] < 1.0 else 0.0
        own, case = own + nats, case + max(nats, one["held"])
        stranger = stranger or nats > one["held"]
    return case if stranger else own


def merged_p(merged: Plain) -> tuple[float, float]:
    """p-value of S, and the rows a day that it is one of; of too few cases the smallest rate speaks."""
    if merged["past"]["past"] < FEW_CASES:
        rows = max(merged["judged_per_day"], 1.0)
        rates = [one["rate"] * one["odds"] for one in merged["opinions"] if one["p"] < 1.0]
        return max(min(min(rates) / rows, 1.0), SMALLEST_P), rows
    return max(p_of(merged["past"], merged["sum"]), SMALLEST_P), max(merged["stranger_per_day"], 1.0)


def by_chance(chain: Plain) -> float:
    """E of a chain: L Π (a_u W) P(Erlang(2k - 1) >= S)."""
    evidence = math.fsum(link["nats"] + link["gap_nats"] for link in chain["links"])
    paths = math.prod(link["arrivals"] for link in chain["links"])
    return float(chain["findings_per_day"] * paths * erlang_tail(evidence, 2 * chain["length"] - 1))


def finding_p(told: Plain) -> float:
    """The p-value of a finding: merged, capped for a first act on a controller, in the light of its chain."""
    p, rows = merged_p(told["merged"])
    found, expected = told["finding"], p * rows
    if found["at_most"] is not None and expected > found["at_most"]:
        expected = found["at_most"]
        p = expected / rows
    chain = found["chain"]
    if chain is not None and len(chain["links"]) > 1:
        chance = by_chance(chain)
        before = chain["by_chance_before"]
        if before is None or chance < before:
            chance = max(chance * chain["young"], SMALLEST_P * rows)
            p = chance / rows if chance < expected else p
    return p


def alert_score(explained: Plain) -> tuple[float, float, str]:
    """Score, p-value and severity of an alert from what explains it: those of its strongest finding, and the worst
    severity of all, one level more as a part of an incident.

    Args:
        explained: what ``eastwest explain --json`` writes of an alert.
    """
    p = min(map(finding_p, explained["findings"]), key=rounded_p)
    worst = max(map(severity_of, explained["findings"]))
    levels = max(worst, SEVERITIES.index(explained["repeats_severity"] or SEVERITIES[0]))
    levels = min(levels + (explained["alert"]["incident_id"] is not None), len(SEVERITIES) - 1)
    return round(-math.log10(p), SCORE_DIGITS), rounded_p(p), SEVERITIES[levels]


def severity_of(told: Plain) -> int:
    """Its place among the severities."""
    parts = told["severity"]
    return min(int(max(parts["strange"] + parts["consequence"] + parts["importance"], 0.0)), len(SEVERITIES) - 1)


def incident_score(explained: Plain) -> tuple[float, float]:
    """Score and p-value of an incident from its least likely chain: 1 - exp(-E)."""
    p = -math.expm1(-by_chance(explained["chain"]))
    return round(-math.log10(p), SCORE_DIGITS), rounded_p(p)

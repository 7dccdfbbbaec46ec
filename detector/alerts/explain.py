"""Why a row is strange, in plain words with the numbers that made it so."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from detector.alerts.attack import named
from detector.alerts.model import SCORE_DIGITS, SEVERITIES, Alert, content_id, iso, rounded_p, severity
from detector.alerts.opinions import opinions

Row = dict[str, Any]
_BITS: Final = 1 / math.log(2)
_TEXT_LIMIT: Final = 200  # characters of a log string quoted in a reason
_SWEEP_TARGETS: Final = 10  # distinct ones of one source in ten minutes before it is called a sweep
_SWEEP_NATS: Final = math.log(100)  # of surprise; what comes in one of a hundred windows is a habit
_MOST_ROWS: Final = 1e15  # no history has so many: a rarer p-value is a tail's guess, and its digits say nothing
_CONTROL_LEVEL: Final = 2.0  # Purdue levels up to supervisory control: who looks there looks for controllers


def alert(row: Row, kind: str, place: str, act: str | None) -> Alert:
    """An alert from one scored unit.

    Args:
        row: the unit's columns (`features.units`, `score.structure.COLUMNS`).
        kind: connection, attempt or operation.
        place: what the row was compared with, e.g. ``inside IT``.
        act: plain words for its operation, if any.
    """
    p = row["p_value"]
    return Alert(
        alert_id=content_id(
            kind,
            row["orig_h"],
            row["resp_h"],
            row["service"],
            row["operation"],
            row["ts"],
            row["orig_p"],
            row["resp_p"],
        ),
        ts=iso(row["ts"]),
        src=row["orig_h"],
        dst=row["resp_h"],
        service=row["service"],
        operation=row["operation"],
        kind=kind,
        score=round(-math.log10(p), SCORE_DIGITS),
        p_value=rounded_p(p),
        severity=severity(p, row["consequence"]),
        techniques=techniques(row, kind),
        reasons=tuple(_reasons(row, kind, place, act)),
        incident_id=None,
        evidence=(row["evidence"],),
        src_zone=row["orig_zone"],
        dst_zone=row["resp_zone"],
        user=row["user"],
    )


def continued(found: Alert, p: float, root: str) -> Alert:
    """The alert when it continues a chain of moves that chance makes less often than the act alone."""
    reason = f"continues a chain of unlikely moves from {root}: chance makes one like it in {_one_in(p)} rows"
    return replace(rated(found, p), reasons=(*found.reasons, reason))


def rated(found: Alert, p: float) -> Alert:
    """The alert with another p-value."""
    return replace(found, p_value=rounded_p(p), score=round(-math.log10(p), SCORE_DIGITS))


def joined(opened: Alert, findings: Sequence[Alert]) -> Alert:
    """One alert for all that was found of a case: it keeps the id and the time it was opened with, and takes the
    numbers of its strongest finding and the techniques, accounts and evidence of all."""
    strongest = min(findings, key=lambda found: found.p_value)
    others = dict.fromkeys(_act(found) for found in findings if _act(found) != _act(strongest))
    also = (f"within the hour also: {', '.join(others)}",) if others else ()
    return replace(
        strongest,
        alert_id=opened.alert_id,
        ts=opened.ts,
        severity=max((found.severity for found in findings), key=SEVERITIES.index),
        techniques=tuple(dict.fromkeys(technique for found in findings for technique in found.techniques)),
        reasons=(*strongest.reasons, *also),
        evidence=tuple(dict.fromkeys(pointer for found in findings for pointer in found.evidence)),
        user=next((found.user for found in (strongest, *findings) if found.user), None),
    )


def _act(found: Alert) -> str:
    return f"{found.service} {_quoted(found.operation)}" if found.operation else found.service


def techniques(row: Row, kind: str) -> tuple[str, ...]:
    """ATT&CK ids the row is evidence for."""
    if kind == "attempt":
        return _sweep(row)
    found = [row["technique"]] if row["technique"] else []
    if kind == "connection":
        found += _sweep(row)
    if row["crossing"] and "T0886" not in found:
        found.append("T0886")
    return tuple(found)


def _sweep(row: Row) -> tuple[str, ...]:
    """What it is called to look for hosts or services; nothing when few were tried or that many are usual."""
    if row.get("fanout_targets", 0.0) < _SWEEP_TARGETS or row["fanout_sweep"] < _SWEEP_NATS:
        return ()
    if row["service"] == "icmp":
        return ("T1018",)
    return ("T0846",) if row["resp_level"] is not None and row["resp_level"] <= _CONTROL_LEVEL else ("T1046",)


def _reasons(row: Row, kind: str, place: str, act: str | None) -> list[str]:
    source, target, what = row["orig_h"], row["resp_h"], _what(row, kind, act)
    judged = row["p_structure"] < 1.0  # else the pair did this within the hour, and something else about it is strange
    reasons = [f"{_seen(row) if judged else 'another'} {what} from {source} to {target}"]
    if judged:
        reasons += _habits(row, kind)
    if row["crossing"]:
        reasons.append(
            f"crosses from {_quoted(row['orig_zone'])} (Purdue level {row['orig_level']:g}) to "
            f"{_quoted(row['resp_zone'])} (level {row['resp_level']:g}) and no declared conduit permits it"
        )
    if row["object"]:
        reasons.append(f"object: {_quoted(row['object'])}")
    if row["user"]:
        reasons.append(f"account: {_quoted(row['user'])}")
    reasons += [f"ATT&CK {named(technique)}" for technique in techniques(row, kind)]
    reasons += opinions(row, _count, _one_in)
    if judged:
        reasons.append(
            f"surprise {row['structure_forward'] * _BITS:.1f} bits given the source, "
            f"{row['structure_reverse'] * _BITS:.1f} bits given the target"
        )
    rare = _one_in(min(row["p_value"], 1.0))
    reasons.append(f"taken together, 1 in {rare} rows is as strange")
    if row["guessed"]:
        reasons.append("the direction is a guess: the flow record did not tell who began")
    return reasons


def _habits(row: Row, kind: str) -> list[str]:
    source, target = row["orig_h"], row["resp_h"]
    noun = {"operation": "acts", "attempt": "failed attempts"}.get(kind, "connections")
    return [
        (
            f"{source} made {_count(row['orig_rows'])} {noun} before, over {_count(row['orig_pairs'])} "
            f"host and {'operation' if kind == 'operation' else 'service'} pairs"
        ),
        f"{_count(row['role_sources'])} hosts like it (zone {_quoted(row['orig_zone'])}) did this to {target} before",
        f"{target} saw {_count(row['resp_rows'])} {noun} from {_count(row['resp_pairs'])} such pairs before",
    ]


def _seen(row: Row) -> str:
    return "first" if row["seen"] <= 0 else f"rare ({_count(row['seen'])} before)"


def _what(row: Row, kind: str, act: str | None) -> str:
    if kind == "operation":
        shown = f"{row['service']} {_quoted(row['operation'])}"
        return f"{shown} ({act})" if act else shown
    return f"{'failed attempt at' if kind == 'attempt' else 'use of'} {row['service']}"


def _quoted(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"


def _count(value: float) -> str:
    """Counts fade and strange rows count less, so what was seen once may be less than one."""
    return "less than 1" if 0 < value < 1 / 2 else f"{max(round(value), 0):,}"


def _one_in(p: float) -> str:
    if p < 1 / _MOST_ROWS:
        return f"more than {_MOST_ROWS:,.0f}"
    return f"{float(f'{1 / p:.2g}'):,.0f}"

"""Why a row is strange, in plain words with the numbers that made it so."""

import math
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, Final

from detector.alerts.attack import named, tactics
from detector.alerts.community_id import community_id
from detector.alerts.model import SCORE_DIGITS, SEVERITIES, Alert, Asset, content_id, iso, rounded_p, severity
from detector.alerts.opinions import opinions
from detector.alerts.surprise import SHORT, bits, counterfactual

Row = dict[str, Any]
_BITS: Final = 1 / math.log(2)
_TEXT_LIMIT: Final = 200  # characters of a log string quoted in a reason
_POINTER_LIMIT: Final = 1024  # characters of a pointer: a path and a line, or a uid
_SWEEP_TARGETS: Final = 10  # distinct ones of one source in ten minutes before it is called a sweep
_SWEEP_NATS: Final = math.log(100)  # of surprise; what comes in one of a hundred windows is a habit
_MOST_ROWS: Final = 1e15  # no history has so many: a rarer p-value is a tail's guess, and its digits say nothing
VIOLATION_P: Final = 1e-4
"""What somebody forbade counts for severity at least as what comes once in so many rows: one level."""
OUTSIDE_WINDOWS: Final = "outside the windows"  # why a conduit does not permit what it would at another time
MAX_EVIDENCE: Final = 32  # pointers in one alert
_MAX_ALSO: Final = 8  # other acts of the hour that are named
_ICMP: Final = frozenset({"icmp", "ipv6-icmp"})
_CONTROL_LEVEL: Final = 2.0  # Purdue levels up to supervisory control: who looks there looks for controllers


def alert(row: Row, kind: str, place: str, act: str | None) -> Alert:
    """An alert from one scored unit.

    Args:
        row: the unit's columns (`features.units`, `score.structure.COLUMNS`); ``evidence``, ``transport``, the
            greater ``importance`` of its two hosts, and ``trust`` (a `Verdict`).
        kind: connection, attempt or operation.
        place: what the row was compared with, e.g. ``inside IT``.
        act: plain words for its operation, if any.
    """
    p, found, surprise = row["p_value"], techniques(row, kind), bits(row)
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
        operation=_short(row["operation"]),
        kind=kind,
        score=round(-math.log10(p), SCORE_DIGITS),
        p_value=rounded_p(p),
        severity=severity(p, row["consequence"], row["importance"]),
        techniques=found,
        reasons=tuple(_reasons(row, kind, place, act)),
        incident_id=None,
        evidence=(row["evidence"][:_POINTER_LIMIT],),
        src_zone=row["orig_zone"],
        dst_zone=row["resp_zone"],
        user=_short(row["user"]),
        title=_title(row, kind, act, next(iter(surprise), "structure")),
        counterfactual=counterfactual(row, _what(row, kind, act)),
        last_ts=iso(row["ts"]),
        bits=surprise,
        tactics=tactics(found),
        trust=row["trust"],
        **_conversation(row),
    )


def _conversation(row: Row) -> dict[str, Any]:
    """Ports, transport and Community ID. Of ICMP, which has no ports, Zeek writes types in their place."""
    transport, ports = row["transport"], (row["orig_p"], row["resp_p"])
    known = transport is not None and None not in ports and (transport not in _ICMP or row["log"].startswith("zeek"))
    shown = (None, None) if transport in _ICMP else ports
    return {
        "transport": transport,
        "src_port": shown[0],
        "dst_port": shown[1],
        "community_id": community_id(transport, row["orig_h"], ports[0], row["resp_h"], ports[1]) if known else None,
    }


def _title(row: Row, kind: str, act: str | None, strangest: str) -> str:
    """One line: what, from where to where, and which model it surprises most where that is not the act itself."""
    source, target, what = row["orig_h"], row["resp_h"], _what(row, kind, act)
    if _sweep(row) and kind != "operation":
        targets = f"{_count(row['fanout_targets'])} targets within ten minutes"
        return f"Sweep by {source}: {what} on {targets}, among them {target}"
    seen = f"{_seen(row)} " if row["p_structure"] < 1.0 and strangest not in SHORT else ""
    title = f"{seen}{what} from {source} to {target}"
    title = f"{title[:1].upper()}{title[1:]}" if seen or kind != "operation" else title  # names of protocols stay
    return title + (f" {SHORT[strangest]}" if strangest in SHORT else "")


def continued(found: Alert, p: float, root: str) -> Alert:
    """The alert when it continues a chain of moves that chance makes less often than the act alone."""
    reason = f"continues a chain of unlikely moves from {root}: chance makes one like it in {_one_in(p)} rows"
    return replace(rated(found, p), reasons=(*found.reasons, reason))


def rated(found: Alert, p: float) -> Alert:
    """The alert with another p-value."""
    return replace(found, p_value=rounded_p(p), score=round(-math.log10(p), SCORE_DIGITS))


def violation(found: Alert, row: Row, way: tuple[str, str, str], why: str, operation: str) -> Alert:
    """The alert of a row as the violation that it is, whatever models think of it.

    Args:
        found: what `alert` makes of the row.
        way: from zone, to zone, service that carries it.
        why: what the last conduit that might have permitted it lacked.
        operation: class of the act where a conduit asked for it, else empty.
    """
    begin, end, service = map(_quoted, way)
    what = f"{service} {_quoted(operation)}" if operation else service
    moment = " at that time" if why == OUTSIDE_WINDOWS else ""
    reason = f"{what} from zone {begin} to zone {end}: {why}, and zones are enforced there"
    others = [said for said in found.reasons if not said.startswith("crosses from ")]
    return replace(
        found,
        alert_id=content_id(
            "violation", *way, operation, found.src, found.dst, row["ts"], row["orig_p"], row["resp_p"]
        ),
        kind="violation",
        severity=severity(min(row["p_value"], VIOLATION_P), row["consequence"], row["importance"]),
        title=f"Violation of conduits: {what} from {found.src} ({begin}) to {found.dst} ({end}), {why}",
        reasons=(reason, *others),
        counterfactual=f"Would not alert if a conduit from {begin} to {end} permitted {what}{moment}.",
    )


def joined(opened: Alert, findings: Sequence[Alert], count: int) -> Alert:
    """One alert for all that was found of a case: it keeps the id, the time and what was decided when it was opened,
    and takes the numbers of its strongest finding and the techniques, accounts and evidence of all.

    Args:
        count: findings in it; more than are kept.
    """
    strongest = min(findings, key=lambda found: found.p_value)
    others = list(dict.fromkeys(_act(found) for found in findings if _act(found) != _act(strongest)))
    more = f" and {len(others) - _MAX_ALSO} more" if len(others) > _MAX_ALSO else ""
    also = (f"within the hour also: {', '.join(others[:_MAX_ALSO])}{more}",) if others else ()
    found_of = tuple(dict.fromkeys(technique for found in findings for technique in found.techniques))
    evidence = dict.fromkeys(pointer for found in (*findings, opened) for pointer in found.evidence)
    ending = " and what else they did within the hour were one, too." if others else "."
    return replace(
        strongest,
        alert_id=opened.alert_id,
        ts=opened.ts,
        severity=max((found.severity for found in (opened, *findings)), key=SEVERITIES.index),
        techniques=found_of,
        reasons=(*strongest.reasons, *also),
        evidence=tuple(evidence)[:MAX_EVIDENCE],
        user=next((found.user for found in (strongest, *findings) if found.user), None),
        counterfactual=strongest.counterfactual.removesuffix(".") + ending,
        count=count,
        last_ts=max(opened.last_ts, *(found.last_ts for found in findings)),
        tactics=tactics(found_of),
        related=opened.related,
        status=opened.status,
        decision=opened.decision,
        trust=max((found.trust for found in (opened, *findings)), key=_weight),
    )


def repeated(told: Alert, found: Alert) -> Alert:
    """The alert when the same act was found again: no new alert, but it counts."""
    return replace(
        told,
        severity=max(told.severity, found.severity, key=SEVERITIES.index),
        evidence=tuple(dict.fromkeys((*told.evidence, *found.evidence)))[:MAX_EVIDENCE],
        count=told.count + 1,
        last_ts=max(told.last_ts, found.last_ts),
        trust=max(told.trust, found.trust, key=_weight),
    )


_weight: Final = attrgetter("weight")


def summary(told: Alert) -> str:
    """A few sentences: what and between whom, how strange, how often, and what would have made it none."""
    strangest = next(iter(told.bits), None)
    alone = f"; {strangest} alone says {told.bits[strangest]:g} bits" if strangest else ""
    often = f" {told.count} findings from {_clock(told.ts)} to {_clock(told.last_ts)}." if told.count > 1 else ""
    return (
        f"{told.title}. Source: {_who(told.src_asset, told.src_zone)}. Target: {_who(told.dst_asset, told.dst_zone)}. "
        f"1 in {_one_in(told.p_value)} rows is as strange{alone}.{often} {told.counterfactual}"
    )


def _who(asset: Asset, zone: str) -> str:
    """What is known of a host, in words."""
    level = None if asset.purdue_level is None else f"Purdue level {asset.purdue_level:g}"
    importance = None if asset.importance == "normal" else f"{asset.importance} importance"
    owner = None if asset.owner is None else f"owner {asset.owner}"
    known = (asset.name, asset.role, f"zone {zone}", level, importance, owner)
    return ", ".join(_quoted(word) for word in known if word)


def _clock(ts: str) -> str:
    return f"{ts[:10]} {ts[11:16]}"


def _act(found: Alert) -> str:
    return f"{found.service} {_quoted(found.operation)}" if found.operation else found.service


def techniques(row: Row, kind: str) -> tuple[str, ...]:
    """ATT&CK ids the row is evidence for."""
    if kind == "attempt":
        return _sweep(row)
    found = [row["technique"]] if row["technique"] else []
    if kind == "connection":
        found += _sweep(row)
    if _jumps(row) and "T0886" not in found:
        found.append("T0886")
    return tuple(found)


def _jumps(row: Row) -> bool:
    """Whether it crosses Purdue levels; what only violates a zone's conduits has no levels that differ so."""
    levels = row["orig_level"], row["resp_level"]
    return row["crossing"] and None not in levels and abs(levels[0] - levels[1]) > 1


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
    if row["history_truncated"]:
        before = iso(row["history_truncated"])
        reasons.append(f"perhaps not the first: a full table dropped some of what was last seen before {before}")
    if _jumps(row):
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


def _short(text: str | None) -> str | None:
    return None if text is None else _quoted(text)


def _quoted(text: str) -> str:
    return text if len(text) <= _TEXT_LIMIT else f"{text[:_TEXT_LIMIT]}…"


def _count(value: float) -> str:
    """Counts fade and strange rows count less, so what was seen once may be less than one."""
    return "less than 1" if 0 < value < 1 / 2 else f"{max(round(value), 0):,}"


def _one_in(p: float) -> str:
    if p < 1 / _MOST_ROWS:
        return f"more than {_MOST_ROWS:,.0f}"
    return f"{float(f'{1 / p:.2g}'):,.0f}"

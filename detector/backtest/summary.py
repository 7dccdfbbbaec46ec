"""`summary.json`: accounting, rates, what stands out. Its keys are a contract; see docs/backtest.md."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import polars as pl

import detector
from detector.alerts.model import SCORE_DIGITS, Alert, Incident, iso
from detector.backtest.parts import Plan
from detector.backtest.tally import Tally
from detector.correlate.entities import IMPORTANT, RankedHost
from detector.engine import Engine
from detector.score.phases import PHASES
from detector.score.zones import ZonePhases
from detector.sources.files import SkippedFile


class Input(NamedTuple):
    """What was read: files by plan, and those that are no logs."""

    plan: Plan
    skipped: Sequence[SkippedFile]


def open_ones(alerts: list[Alert]) -> list[Alert]:
    """Alerts that nobody decided about."""
    return [alert for alert in alerts if alert.status == "open"]


def summary_of(
    engine: Engine, found: Input, tally: Tally, alerts: list[Alert], incidents: list[Incident], seconds: float
) -> dict[str, Any]:
    """``summary.json``, but for what is told of hosts, phases and labels; JSON types only."""
    account = engine.accounting
    first, last = tally.first or 0, tally.last or 0
    days = (last - first) / 86_400e6
    judged_from = max(first, engine.train_until or 0)
    judged_days = max((last - judged_from) / 86_400e6, 0.0)
    rejected = Counter[str]()
    for (_, reason), count in account.rejected.items():
        rejected[reason] += count
    return {
        "version": detector.__version__,
        "input": {
            "paths": [str(file) for file in found.plan.files],
            "files": len(found.plan.files),
            "skipped": [{"path": skipped.path, "reason": skipped.reason} for skipped in found.skipped],
            "passed_over": {
                "files": found.plan.passed_files,
                "row_groups": found.plan.passed_groups,
                "rows": found.plan.passed_rows,
            },
        },
        "rows": {
            "in": account.rows,
            "scored": account.scored,
            "rejected": account.rejected.total(),
            "duplicate": account.duplicate,
            "late": account.late,
            "filtered": account.filtered.total(),
        },
        "paired": account.paired,
        "taught": account.taught,
        "rejected_reasons": dict(rejected.most_common(100)),
        "filtered_reasons": {f"{log}: {reason}": count for (log, reason), count in sorted(account.filtered.items())},
        "notes": {f"{log}: {what}": count for (log, what), count in sorted(account.notes.items())},
        "time": {
            "first": None if tally.first is None else iso(tally.first),
            "last": None if tally.last is None else iso(tally.last),
            "days": round(days, 4),
            "judged_days": round(judged_days, 4),
        },
        "seconds": round(seconds, 2),
        "rows_per_second": round(account.rows / max(seconds, 1e-9)),
        "alerts": {
            "count": len(open_ones(alerts)),
            "per_day": round(len(open_ones(alerts)) / max(judged_days, 1.0), 2),
            "budget_per_day": engine.settings.alerts_per_day,
            "by_severity": dict(Counter(alert.severity for alert in open_ones(alerts))),
            "decided": len(alerts) - len(open_ones(alerts)),
        },
        "violations": {
            "alerts": sum(alert.kind == "violation" for alert in open_ones(alerts)),
            "withheld": engine.judge.violations.withheld,
        },
        "trust": _trust(engine),
        "decisions": _decisions(engine),
        "incidents": {"count": len(incidents)},
        "new_edges": {"count": tally.new_edges, "top": _top_edges(tally)},
        "state": _state(engine),
        "model": _model(engine),
        "settings": engine.settings.model_dump(),
    }


def _model(engine: Engine) -> dict[str, str] | None:
    """What the engine began with."""
    model = engine.model
    return None if model is None else {
        "name": model.manifest.name, "sha256": model.sha256, "signature": model.signature,
    }  # fmt: skip


def _trust(engine: Engine) -> dict[str, Any]:
    """Rows by verdict and by what failed, and the share that is verified of those that were judged."""
    trust = engine.scorer.trust
    return {"verdicts": trust.verdicts(), "share": trust.share(), "failed": trust.failures()}


def _decisions(engine: Engine) -> list[dict[str, Any]]:
    """How many findings each decision relabelled, in the order of the file."""
    decisions = engine.judge.decisions
    return [
        {"id": one.entry.id, "action": one.entry.action, "hits": decisions.hits.get(one.entry.id, 0)}
        for one in decisions.held
    ]


def _state(engine: Engine) -> dict[str, Any]:
    """How full the structure model's table is, what went at the bound of any (each table counts it in an array of its
    own), and how many rows may look new for that."""
    twins = {"flow_twins": engine.flow_twins.seen.evicted, "operation_twins": engine.operation_twins.seen.evicted}
    evicted = engine.scorer.evicted() | twins
    return {
        "entries": int(engine.scorer.structure.memory.counts.used[0]),
        "evicted": sum(evicted.values()),
        "evicted_from": [{"table": table, "count": count} for table, count in sorted(evicted.items()) if count],
        "truncated": int(engine.scorer.history.truncated[0]),
    }


def entities(engine: Engine, hosts: list[RankedHost]) -> dict[str, int]:
    """Hosts that findings are about, by count."""
    important = sum(host.importance >= IMPORTANT for host in hosts)
    return {"count": len(hosts), "important": important, "forgotten": engine.judge.entities.forgotten}


def phases(zones: list[ZonePhases]) -> dict[str, Any]:
    """Hosts by phase, and the same zone by zone."""
    totals = {phase: sum(getattr(zone, phase) for zone in zones) for phase in (*PHASES, "idle")}
    return {**totals, "zones": [asdict(zone) for zone in zones]}


def _top_edges(tally: Tally) -> list[dict[str, Any]]:
    if tally.top_edges is None:
        return []
    frame = tally.top_edges.select(
        pl.col("ts").map_elements(iso, pl.String),
        src="orig_h",
        dst="resp_h",
        service="service",
        score=(-pl.col("p_value").log10()).round(SCORE_DIGITS).abs(),
        p_value="p_value",
        src_zone="orig_zone",
        dst_zone="resp_zone",
    )
    return frame.to_dicts()

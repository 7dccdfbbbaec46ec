"""For each alert rule what Prometheus sees when it must fire, and when it must not.

Series are in promtool's notation, one value a minute: ``0x29 5x30`` is 30 times 0 and 31 times 5, ``0+100x60`` grows by
100 a minute (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/).
"""

from typing import NamedTuple

_ONE = 'namespace="soc",job="eastwest",instance="a"'


class Case(NamedTuple):
    """Series by name and labels, and the minute at which somebody looks."""

    minute: int
    fires: dict[str, str]
    quiet: dict[str, str]


def _one(name: str, labels: str = "") -> str:
    return f"eastwest_{name}{{{_ONE}{',' if labels else ''}{labels}}}"


def _level(name: str, minute: int, high: float, low: float, labels: str = "") -> Case:
    """A gauge that is high all the time, or low."""
    return Case(minute, {_one(name, labels): f"{high}x{minute}"}, {_one(name, labels): f"{low}x{minute}"})


def _event(name: str, labels: str = "") -> Case:
    """A counter with one event within the hour, or with one long ago."""
    return Case(60, {_one(name, labels): "0x49 1x10"}, {_one(name, labels): "1x60"})


def _share(name: str, much: float, little: float, labels: str = "") -> Case:
    """A counter that grows by so much a minute, beside a thousand records."""
    rest, mine = {_ROWS: "0+1000x40"}, _one(name, labels)
    return Case(40, rest | {mine: f"0+{much}x40"}, rest | {mine: f"0+{little}x40"})


_ROWS = _one("rows_total", 'outcome="scored"')
_V1, _V2 = (_one("build_info", f'version="{version}"') for version in (1, 2))
_OTHER = _V1.replace('"a"', '"b"')  # another process
_FOREST, _DRIP = (_one("drift_changes_total", f'model="{model}"') for model in ("forest", "drip"))
_FIRST, _SECOND = (_one("behind_seconds", f'topic="zeek",partition="{number}"') for number in (0, 1))
_BUDGET = {_one("budget_alerts_per_day"): "25x3000"}

CASES: dict[str, Case] = {
    "EastwestAbsent": Case(6, {'up{job="eastwest"}': "0x6"}, {_one("build_info", 'version="1"'): "1x6"}),
    "EastwestNothingComes": Case(
        60, _BUDGET | {_ROWS: "0+100x15 1500x44"}, {_one("budget_alerts_per_day"): "0x60", _ROWS: "0x60"}
    ),
    "EastwestBehind": _level("behind_seconds", 11, 61, 60, 'topic="zeek",partition="0"'),
    "EastwestFarBehind": _level("behind_seconds", 11, 901, 900, 'topic="zeek",partition="0"'),
    "EastwestPartitionStalled": _event("stalls_total"),
    "EastwestNobodyNormalizes": _level("normalizers_silent_seconds", 2, 61, 60),
    "EastwestTurnsFail": Case(40, {_one("turns_failed_total"): "0+1x40"}, {_one("turns_failed_total"): "0x35 1+1x4"}),
    "EastwestRebalances": Case(40, {_one("rebalances_total"): "0+2x40"}, {_one("rebalances_total"): "0x20 1+1x19"}),
    "EastwestVersionsDiffer": Case(
        16,
        {_V2: "1x16", _OTHER: "1x16"},
        {_V1: "1x16", _OTHER: "1x16"},
    ),
    "EastwestRecordsLost": _event("gap_rows_total"),
    "EastwestExporterSilent": _level("exporters_silent", 6, 1, 0),
    "EastwestClockAhead": _share("future_rows_total", 2, 0.5),
    "EastwestClockBehind": _share("rows_total", 20, 5, 'outcome="late"'),
    "EastwestBrokerClocksDiffer": _share("out_of_order_rows_total", 200, 50),
    "EastwestRejects": _share("rows_total", 20, 5, 'outcome="rejected"'),
    "EastwestOverQuota": Case(20, {_one("quota_rows_total"): "0+1x20"}, {_one("quota_rows_total"): "9x20"}),
    "EastwestSinkBlocked": _level("sink_blocked", 11, 1, 0, 'sink="siem"'),
    "EastwestSinkStuck": Case(
        40,
        {_one("sink_waiting", 'sink="siem"'): "3x40", _one("sink_delivered_total", 'sink="siem"'): "7x40"},
        {_one("sink_waiting", 'sink="siem"'): "3x40", _one("sink_delivered_total", 'sink="siem"'): "7+1x40"},
    ),
    "EastwestSinkRefuses": _event("sink_refused_total", 'sink="siem"'),
    "EastwestOutboxFills": _level("outbox_fill_ratio", 6, 0.81, 0.8),
    "EastwestPaused": _level("paused", 11, 1, 0),
    "EastwestNoCheckpoint": Case(
        20,
        {_one("checkpoint_timestamp_seconds"): "120x20", _ROWS: "0+100x20"},
        {_one("checkpoint_timestamp_seconds"): "120x20", _ROWS: "100x20"},
    ),
    "EastwestCheckpointFails": _event("checkpoint_failures_total"),
    "EastwestMismatch": _event("replay_mismatch_total"),
    "EastwestTableFull": Case(
        130,
        {_one("state_evicted_total", 'table="operations"'): "0+10x130"},
        {_one("state_evicted_total", 'table="operations"'): "0x60 10x69"},
    ),
    "EastwestBudgetExceeded": Case(
        2000,
        _BUDGET | {_one("alerts_total", 'severity="low"'): "0+0.04x2000"},
        _BUDGET | {_one("alerts_total", 'severity="low"'): "0+0.03x2000"},
    ),
    "EastwestBudgetError": _level("budget_correction", 4400, 10, 9.9),
    "EastwestDrift": Case(
        100,
        {_FOREST: "0x50 2x49", _DRIP: "0x50 3x49"},
        {_FOREST: "0x50 2x49", _DRIP: "3x99"},
    ),
}

MORE: dict[str, list[Case]] = {
    "EastwestRecordsLost": [_event("unreadable_batches_total")],
    "EastwestCheckpointFails": [_level("checkpoint_corrupt_total", 1, 1, 0)],
    "EastwestBudgetError": [_level("budget_correction", 4400, 0.1, 0)],
    "EastwestNothingComes": [Case(60, _BUDGET | {_ROWS: "0x60"}, _BUDGET | {_ROWS: "0+100x31 3100x28"})],
    "EastwestBehind": [Case(11, {_FIRST: "0x11", _SECOND: "99x11"}, {_FIRST: "0x11", _SECOND: "99x5 0 99x5"})],
}
"""Further ways to the same rule."""

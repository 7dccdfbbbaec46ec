"""What the service shows of itself to Prometheus. The only module that knows its client.

Label values are of sets that the program knows, or names that the operator chose (topics, sinks); never text of a
record. Each label has a bound all the same: what comes beyond it is counted as ``other``.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.parser import text_string_to_metric_families

OUTCOMES: Final = ("scored", "rejected", "duplicate", "late", "filtered")
STAGES: Final = ("poll", "decode", "score", "outbox", "checkpoint")
CASE_STATES: Final = ("opened", "acknowledged", "contained", "recovered", "closed")
CASE_STEPS: Final = ("detect", "acknowledge", "contain", "recover")
SEVERITIES: Final = ("low", "medium", "high", "critical")
VERDICTS: Final = ("verified", "unverified", "denied", "learning")
QUESTIONS: Final = ("device", "user", "service", "path")
OTHER: Final = "other"

_STAGE_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_ALERT_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5, 7.5, 10, 15, 30, 60, 300, 3600)
"""Seconds from produce to alert; close around the reorder buffer's 2 s and the second that may come on top."""

_MOST_VALUES: Final = {"topic": 4096, "table": 128, "model": 32, "sink": 32, "reason": 16, "decision": 256}
"""Values of a label that are shown, where the set is not fixed by the program. Topics count with their partitions."""

_REASONS: Final = (
    ("batch", re.compile("^record batch")),
    ("too_long", re.compile("longer than|larger than|lines$")),
    ("not_json", re.compile("not JSON")),
    ("not_text", re.compile("not UTF-8")),
    (
        "unknown_format",
        re.compile("neither a JSON object|neither text nor|without a flow|no reader for|no known log|envelopes"),
    ),
    ("reader", re.compile("while reading it")),
    ("columns", re.compile("the header has|quoting$")),
    ("missing", re.compile("missing")),
    ("time", re.compile("not a time|this time|not a duration|no usable time")),
    ("address", re.compile("not an address")),
    ("range", re.compile(": outside |: more than ")),
    ("value", re.compile(": (not|neither) ")),
)
REASONS: Final = (*(name for name, _ in _REASONS), OTHER)


def reason_class(reason: str) -> str:
    """Which of `REASONS` the reason of a `records.Reject` is."""
    return next((name for name, pattern in _REASONS if pattern.search(reason)), OTHER)


@dataclass(frozen=True, slots=True)
class Named:
    """One metric, as docs/metrics.md has it."""

    name: str
    kind: str  # counter, gauge, histogram
    labels: tuple[str, ...]
    help: str


NAMES: Final = tuple(
    Named(f"eastwest_{name}", kind, labels, text)
    for name, kind, labels, text in (
        ("build_info", "gauge", ("version", "config"), "1; which version runs, with which settings"),
        ("rows_total", "counter", ("outcome",), "Records by what became of them"),
        ("rows_waiting", "gauge", (), "Records in the reorder buffer"),
        ("rejected_rows_total", "counter", ("reason",), "Records that could not be used, by class of reason"),
        ("quota_rows_total", "counter", (), "Of the filtered: records beyond the quota of their topic"),
        (
            "future_rows_total",
            "counter",
            (),
            "Rows dated in the future, by 5 minutes or more; the broker's time was taken",
        ),
        ("exporters", "gauge", (), "Exporters and sensors that rows came from within a day"),
        ("exporters_silent", "gauge", (), "Of these: no longer heard"),
        ("lag_rows", "gauge", ("topic", "partition"), "Records of a partition not yet handed to the engine"),
        ("behind_seconds", "gauge", ("topic", "partition"), "Age of the last record handed over; 0 at the end"),
        ("normalized_rows_total", "counter", (), "Records that a process with stages [normalize] passed on"),
        ("turns_failed_total", "counter", (), "Transactions that failed and were begun again, of such a process"),
        ("rebalances_total", "counter", (), "Times that partitions were taken from such a process"),
        (
            "normalizers_silent_seconds",
            "gauge",
            (),
            "Longest time that no process has said anything of a raw partition",
        ),
        ("gaps_total", "counter", (), "Times that records were gone from the brokers before they were read"),
        ("gap_rows_total", "counter", (), "Records that were gone"),
        ("stalls_total", "counter", (), "Partitions that gave nothing though they had more"),
        ("out_of_order_rows_total", "counter", (), "Records handed over after a later one of another partition"),
        ("unreadable_batches_total", "counter", (), "Record batches that could not be read"),
        ("stage_seconds", "histogram", ("stage",), "Time of one pass through a stage"),
        ("produce_to_alert_seconds", "histogram", (), "From a record's time at the broker to its alert in the outbox"),
        ("alerts_total", "counter", ("severity",), "Alerts raised"),
        ("shadow_alerts_total", "counter", ("severity",), "Alerts that a candidate in the shadow would have raised"),
        ("shadow_unwritten_total", "counter", (), "Times that something was not written to the candidate's file"),
        ("budget_alerts_per_day", "gauge", (), "Alerts a day that people want to read, as `alerts_per_day` says"),
        ("trust_rows_total", "counter", ("verdict",), "Rows by what of them can be verified"),
        ("trust_failed_rows_total", "counter", ("question",), "Of these: rows by question that was answered with no"),
        ("violations_withheld_total", "counter", (), "Violations of enforced zones that found no alert budget"),
        ("decision_hits_total", "counter", ("decision",), "Findings that a decision relabelled"),
        ("incidents", "gauge", (), "Incidents that are open"),
        ("incident_cases", "gauge", ("state",), "Incidents by the state that people brought them to"),
        (
            "incident_mean_seconds",
            "gauge",
            ("step",),
            "Mean time to detect (from begun to opened), and from opened to acknowledge, contain and recover",
        ),
        ("budget_correction", "gauge", (), "Factor that the alert budget's feedback puts on its threshold"),
        ("drift_changes_total", "counter", ("model",), "Times that what is ordinary for a model became something else"),
        ("state_entries", "gauge", ("table",), "Entries of a table of the state"),
        ("state_evicted_total", "counter", ("table",), "Entries that went because a table was full"),
        ("truncated_rows_total", "counter", (), "Rows that seem new and may be what a full table dropped"),
        ("checkpoint_timestamp_seconds", "gauge", (), "When the last checkpoint was complete"),
        ("checkpoint_duration_seconds", "gauge", (), "How long the last checkpoint took"),
        ("checkpoint_bytes", "gauge", (), "Size of the last checkpoint"),
        ("checkpoint_failures_total", "counter", (), "Checkpoints that could not be written"),
        ("checkpoint_corrupt_total", "counter", (), "Checkpoints found damaged"),
        ("replay_skipped_total", "counter", (), "Records made again after a restart, as the outbox has them"),
        ("replay_mismatch_total", "counter", (), "Records made again otherwise than the outbox has them"),
        ("outbox_bytes", "gauge", (), "Size of the outbox on disk"),
        ("outbox_fill_ratio", "gauge", (), "Size of the outbox over its limit; reading pauses at 1"),
        ("sink_waiting", "gauge", ("sink",), "Records of the outbox that a sink has not taken"),
        ("sink_delivered_total", "counter", ("sink",), "Records that a sink has taken"),
        ("sink_retries_total", "counter", ("sink",), "Tries that failed"),
        ("sink_refused_total", "counter", ("sink",), "Records that a sink will never take, set aside"),
        ("sink_success_timestamp_seconds", "gauge", ("sink",), "When a sink last took something"),
        ("sink_blocked", "gauge", ("sink",), "1 while a sink holds up reading"),
        ("paused", "gauge", (), "1 while reading pauses"),
    )
)
"""All metrics of ours. ``process_*`` of the client's `ProcessCollector` come with them."""


class Metrics:
    """All metrics of one service, in a registry of their own.

    Totals that the engine keeps (and a checkpoint brings back) are given as they are, by `rows`, `rejected`, `evicted`;
    events are counted by `count`. One thread writes; any may read.

    Args:
        version: of the program.
        config: fingerprint of the settings.
    """

    def __init__(self, version: str, config: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._all: dict[str, Any] = {metric.name: self._made(metric) for metric in NAMES}
        self._seen: dict[str, set[str]] = {}
        self._totals: dict[tuple[str, ...], float] = {}
        self._all["eastwest_build_info"].labels(version, config).set(1)
        for name, label, values in (
            ("rows_total", "outcome", OUTCOMES),
            ("rejected_rows_total", "reason", REASONS),
            ("stage_seconds", "stage", STAGES),
            ("alerts_total", "severity", SEVERITIES),
            ("shadow_alerts_total", "severity", SEVERITIES),
            ("trust_rows_total", "verdict", VERDICTS),
            ("trust_failed_rows_total", "question", QUESTIONS),
            ("incident_cases", "state", CASE_STATES),
            ("incident_mean_seconds", "step", CASE_STEPS),
        ):  # from the start, so that a rate is there before the first
            self._seen[label] = set(values)
            for value in values:
                self._all[f"eastwest_{name}"].labels(value)

    def _made(self, metric: Named) -> Any:
        if metric.kind == "histogram":
            buckets = _STAGE_BUCKETS if metric.labels else _ALERT_BUCKETS
            return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=buckets)
        kind: type[Counter | Gauge] = Counter if metric.kind == "counter" else Gauge
        return kind(metric.name, metric.help, metric.labels, registry=self.registry)

    # --- events and levels ---

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter, named without ``eastwest_`` and ``_total``."""
        self._child(f"{name}_total", labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge, named without ``eastwest_``."""
        self._child(name, labels).set(value)

    def stage(self, stage: str) -> AbstractContextManager[Any]:
        """Times what happens inside, as one pass through ``stage``."""
        timer: AbstractContextManager[Any] = self._child("stage_seconds", {"stage": stage}).time()
        return timer

    def alert(self, severity: str, seconds: float) -> None:
        """An alert was stored, so many seconds after the broker got the record that made it."""
        self.count("alerts", severity=severity)
        self._all["eastwest_produce_to_alert_seconds"].observe(max(seconds, 0.0))

    # --- totals that somebody else keeps ---

    def rows(self, totals: Mapping[str, int]) -> None:
        """Records by outcome, from the beginning of the stream."""
        for outcome, total in totals.items():
            self._raise("rows", total, outcome=outcome)

    def rejected(self, totals: Mapping[tuple[str, str], int]) -> None:
        """Rejected records by (source, reason), from the beginning of the stream."""
        classes = dict.fromkeys(REASONS, 0)
        for (_, reason), total in totals.items():
            classes[reason_class(reason)] += total
        for name, total in classes.items():
            self._raise("rejected_rows", total, reason=name)

    def evicted(self, totals: Mapping[str, int]) -> None:
        """Entries evicted by table, from the beginning of the stream."""
        for table, total in totals.items():
            self._raise("state_evicted", total, table=table)

    def decided(self, hits: Mapping[str, int], held: Collection[str] = ()) -> None:
        """Findings relabelled by decision, from the beginning of the stream. ``held`` are all that hold; where there
        is room for all, those that never relabelled any are shown too."""
        none = dict.fromkeys(held, 0) if len(held) <= _MOST_VALUES["decision"] else {}
        for decision, total in (none | dict(hits)).items():
            self._raise("decision_hits", total, decision=decision)

    def trusted(self, verdicts: Mapping[str, int], failed: Mapping[str, int]) -> None:
        """Rows by verdict and by question that was answered with no, from the beginning of the stream."""
        for verdict, total in verdicts.items():
            self._raise("trust_rows", total, verdict=verdict)
        for question, total in failed.items():
            self._raise("trust_failed_rows", total, question=question)

    def sink(self, sink: str, delivered: int, retries: int, refused: int) -> None:
        """Records that a sink has taken, tries that failed and records set aside, since the start."""
        for name, total in (("delivered", delivered), ("retries", retries), ("refused", refused)):
            self._raise(f"sink_{name}", total, sink=sink)

    def raised(self, name: str, owner: str, total: int) -> None:
        """A counter without labels that several keep a part of each; ``owner``'s part is now so much."""
        key = (name, owner)
        if total > self._totals.get(key, 0):
            self.count(name, total - self._totals.get(key, 0))
            self._totals[key] = total

    def _raise(self, name: str, total: float, **labels: str) -> None:
        """Counters only go up: what is less than before (an older checkpoint was restored) waits until it is more. Each
        is there from 0 on: Prometheus' ``increase`` sees no step to a first value."""
        self._child(f"{name}_total", labels)
        key = (name, *labels.values())
        if total > self._totals.get(key, 0):
            self.count(name, total - self._totals.get(key, 0), **labels)
            self._totals[key] = total

    # --- partitions ---

    def partition(self, topic: str, partition: int, lag_rows: int, behind_seconds: float) -> None:
        """How far behind a partition is."""
        labels = {"topic": topic, "partition": str(partition)}
        self.set("lag_rows", lag_rows, **labels)
        self.set("behind_seconds", max(behind_seconds, 0.0), **labels)

    def forget(self, topic: str, partition: int) -> None:
        """A partition is no longer ours."""
        for name in ("eastwest_lag_rows", "eastwest_behind_seconds"):
            self._all[name].remove(topic, str(partition))
        self._seen.get("topic", set()).discard(f"{topic}:{partition}")

    # --- labels ---

    def _child(self, name: str, labels: Mapping[str, str]) -> Any:
        metric = self._all[f"eastwest_{name}"]
        return metric.labels(**self._bounded(labels)) if labels else metric

    def _bounded(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels, or ``other`` for what their set does not hold."""
        label = next(iter(labels))
        value = ":".join(labels.values())
        seen = self._seen.setdefault(label, set())
        if value not in seen:
            if len(seen) >= _MOST_VALUES.get(label, 0):
                return dict.fromkeys(labels, OTHER)
            seen.add(value)
        return dict(labels)

    # --- shown ---

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Everything as text, and its content type, in the format of Prometheus that ``accept`` asks for."""
        encode: Callable[[Any], bytes]
        encode, content_type = choose_encoder(accept)
        return encode(self), content_type

    def collect(self) -> Iterator[Metric]:
        """What the client's encoders ask a registry for; without the time each series began, which doubles them."""
        for metric in self.registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


REACH: Final = Named(
    "eastwest_reach_ratio",
    "gauge",
    ("zone", "as", "of", "stat", "hops"),
    "Share of hosts that a host of a zone reaches in so many hops",
)
"""Of `eastwest reach`, which runs and ends: no service shows it, a textfile does. Zones are those of the plant file and
networks; as = used, after; of = hosts, ot, controllers; stat = median, max."""
_MOST_ZONES: Final = 1024


def reach_textfile(zones: Sequence[Mapping[str, Any]], hops: int) -> bytes:
    """`REACH` as a file for the textfile collector of Prometheus' node exporter, which reads ``*.prom``.

    Args:
        zones: as in the summary of `eastwest reach`; beyond `_MOST_ZONES` they are left out.
    """
    registry = CollectorRegistry()
    gauge = Gauge(REACH.name, REACH.help, REACH.labels, registry=registry)
    for zone in zones[:_MOST_ZONES]:
        for name in ("used", "after"):
            for of, shares in (zone[name] or {}).items():
                for stat, share in shares.items():
                    gauge.labels(zone["zone"], name, of, stat, str(hops)).set(share)
    content: bytes = generate_latest(registry)
    return content


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of an exposition."""

    name: str
    labels: Mapping[str, str]
    value: float


def read_exposition(text: str) -> Iterator[Sample]:
    """The numbers of an exposition in Prometheus' text format.

    Raises:
        ValueError: it is not one.
    """
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield Sample(sample.name, sample.labels, sample.value)

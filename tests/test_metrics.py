"""Metrics: every one is readable by Prometheus' own parser, labels are bounded, totals only go up."""

import json
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from detector.metrics import NAMES, OTHER, OUTCOMES, REASONS, STAGES, Metrics, read_exposition, reason_class

GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.fixture
def metrics():
    return Metrics("1.2.3", "abcdef")


def values(metrics):
    """{(name, label values...): value}, without ``eastwest_``."""
    content, _ = metrics.exposition()
    return {
        (sample.name.removeprefix("eastwest_"), *sample.labels.values()): sample.value
        for sample in read_exposition(content.decode())
    }


def test_the_parser_of_prometheus_reads_all_of_it(metrics):
    metrics.alert("high", 1.2)
    content, content_type = metrics.exposition()
    families = {family.name: family for family in text_string_to_metric_families(content.decode())}
    assert content_type.startswith("text/plain; version=0.0.4")
    for metric in NAMES:
        family = families[metric.name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
    ours = {metric.name.removesuffix("_total") for metric in NAMES}
    assert {name for name in families if not name.startswith("process_")} == ours


def test_openmetrics_is_given_to_who_asks_for_it(metrics):
    content, content_type = metrics.exposition("application/openmetrics-text;version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert content.endswith(b"# EOF\n")


def test_names_are_as_prometheus_wants_them():
    for metric in NAMES:
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help[0].isupper() or metric.help[0].isdigit()
        assert metric.kind != "histogram" or metric.name.endswith("_seconds")


def test_sets_that_are_known_are_there_from_the_start(metrics):
    shown = values(metrics)
    assert all(shown["rows_total", outcome] == 0 for outcome in OUTCOMES)
    assert all(shown["rejected_rows_total", reason] == 0 for reason in REASONS)
    assert all(shown["stage_seconds_count", stage] == 0 for stage in STAGES)
    assert shown["build_info", "abcdef", "1.2.3"] == 1


def test_totals_are_shown_as_they_are_and_never_fall(metrics):
    for scored in (10, 25, 20, 26):
        metrics.rows({"scored": scored, "late": 1})
    metrics.rejected(Counter({("a", "not JSON: x"): 2, ("b", "not JSON: y"): 3, ("a", "nobody knows"): 1}))
    metrics.rejected(Counter({("a", "not JSON: x"): 4, ("b", "not JSON: y"): 3, ("a", "nobody knows"): 1}))
    metrics.evicted({"forest.counts": 7})
    metrics.decided({"nightly-copy": 3})
    metrics.decided({"nightly-copy": 2})  # an older checkpoint was restored
    metrics.trusted({"denied": 5, "verified": 40}, {"path": 5})
    metrics.trusted({"denied": 4, "verified": 41}, {"path": 4})
    shown = values(metrics)
    assert (shown["rows_total", "scored"], shown["rows_total", "late"]) == (26, 1)
    assert (shown["rejected_rows_total", "not_json"], shown["rejected_rows_total", "other"]) == (7, 1)
    assert shown["state_evicted_total", "forest.counts"] == 7
    assert shown["decision_hits_total", "nightly-copy"] == 3
    assert (shown["trust_rows_total", "denied"], shown["trust_rows_total", "verified"]) == (5, 41)
    assert (shown["trust_rows_total", "learning"], shown["trust_failed_rows_total", "path"]) == (0, 5)


def test_counters_with_known_labels_are_there_from_nothing_on(metrics):
    """Prometheus' ``increase`` sees no step to a first value."""
    metrics.decided({"hot": 3}, ["hot", "cold"])
    metrics.sink("siem", 0, 0, 0)
    metrics.evicted({"forest.counts": 0})
    shown = values(metrics)
    assert (shown["decision_hits_total", "hot"], shown["decision_hits_total", "cold"]) == (3, 0)
    assert {shown[f"sink_{name}_total", "siem"] for name in ("delivered", "retries", "refused")} == {0}
    assert shown["state_evicted_total", "forest.counts"] == 0


def test_decisions_that_never_hit_take_no_room_from_those_that_do(metrics):
    metrics.decided({"d999": 1}, [f"d{number}" for number in range(1000)])
    assert {key[1] for key in values(metrics) if key[0] == "decision_hits_total"} == {"d999"}


def test_parts_of_a_total_add_up(metrics):
    for owner, total in (("alerts", 3), ("letters", 2), ("alerts", 5), ("letters", 1)):
        metrics.raised("replay_skipped", owner, total)
    assert values(metrics)[("replay_skipped_total",)] == 7


def test_each_class_of_reason_is_met_by_a_reason_of_the_readers():
    said = {
        "batch": "record batches that cannot be read",
        "too_long": "longer than 1048576 bytes",
        "not_json": "not JSON",
        "not_text": "zeek.conn: not UTF-8",
        "unknown_format": "neither a JSON object nor a row under a known header",
        "reader": "zeek.conn: KeyError while reading it",
        "columns": "columns: not as many cells as the header has",
        "missing": "zeek.conn: id.orig_h: missing",
        "time": "zeek.conn: ts: not a time",
        "address": "zeek.conn: id.orig_h: not an address",
        "range": "netflow.goflow2: src_port: outside 0..65535",
        "value": "zeek.conn: orig_bytes: not an integer",
        "other": "something else",
    }
    assert set(said) == set(REASONS)
    assert {name: reason_class(reason) for name, reason in said.items()} == {name: name for name in said}


def test_each_reason_of_the_golden_data_has_a_class():
    golden = [json.loads(path.read_bytes()) for path in sorted(GOLDEN.glob("*/*.expected.json"))]
    reasons = {reason for expected in golden for _, reason, _ in expected["rejects"]}
    assert len(reasons) > 20
    assert not [reason for reason in reasons if reason_class(reason) == OTHER]


@pytest.mark.parametrize(
    ("label", "use"),
    [
        ("topic", lambda metrics, i: metrics.partition(f"topic{i}", i, 1, 1.0)),
        ("table", lambda metrics, i: metrics.evicted({f"table{i}": 1})),
        ("decision", lambda metrics, i: metrics.decided({f"decision{i}": 1})),
        ("model", lambda metrics, i: metrics.count("drift_changes", model=f"model{i}")),
        ("sink", lambda metrics, i: metrics.set("sink_waiting", i, sink=f"sink{i}")),
        ("outcome", lambda metrics, i: metrics.rows({f"outcome{i}": 1})),
        ("reason", lambda metrics, i: metrics.rejected({("source", f"reason {i}"): 1})),
        ("severity", lambda metrics, i: metrics.alert(f"severity{i}", 1.0)),
        ("stage", lambda metrics, i: metrics.stage(f"stage{i}").__enter__()),
    ],
)
def test_no_label_grows_without_bound(metrics, label, use):
    """Whatever is given: at most so many values, the rest is `other`."""
    for i in range(5000):
        use(metrics, i)
    content, _ = metrics.exposition()
    found = {sample.labels[label] for sample in read_exposition(content.decode()) if label in sample.labels}
    most = {"topic": 4096, "table": 128, "model": 32, "sink": 32, "decision": 256}.get(label, 13)
    assert len(found - {OTHER}) <= most
    assert label in {"stage", "reason"} or OTHER in found


def test_a_partition_that_is_gone_is_shown_no_more(metrics):
    metrics.partition("flows", 3, 10, -0.5)
    assert (values(metrics)["lag_rows", "3", "flows"], values(metrics)["behind_seconds", "3", "flows"]) == (10, 0)
    metrics.forget("flows", 3)
    metrics.forget("flows", 3)
    assert ("lag_rows", "3", "flows") not in values(metrics)


def test_stages_and_alerts_are_timed(metrics):
    with metrics.stage("score"):
        pass
    metrics.alert("critical", 2.2)
    metrics.alert("critical", -3.0)  # the broker's clock is ahead of ours
    shown = values(metrics)
    assert shown["stage_seconds_count", "score"] == 1
    assert shown["produce_to_alert_seconds_bucket", "0.05"] == 1
    assert (shown["produce_to_alert_seconds_bucket", "2.0"], shown["produce_to_alert_seconds_bucket", "2.5"]) == (1, 2)
    assert shown["alerts_total", "critical"] == 2


def test_two_services_of_one_process_do_not_meet(metrics):
    other = Metrics("1", "x")
    other.count("stalls")
    assert (values(metrics)[("stalls_total",)], values(other)[("stalls_total",)]) == (0, 1)


def test_names_that_are_none_are_errors(metrics):
    with pytest.raises(KeyError):
        metrics.count("nothing")
    with pytest.raises(ValueError, match="label"):
        metrics.set("lag_rows", 1, sink="x")

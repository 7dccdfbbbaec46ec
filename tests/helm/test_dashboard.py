"""The dashboard names metrics that are, shows each that tells something, and fits the grid."""

import re

from detector.metrics import NAMES
from tests.helm.dashboard import DASHBOARD, queries

PARTS = ("_bucket", "_sum", "_count")
OF_THE_CLIENT = {"process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"}
NOT_SHOWN = {
    "eastwest_gaps_total",  # the records of a gap are
}


def used():
    text = " ".join(query.expression for query in queries())
    names = set(re.findall(r"\b(?:eastwest|process)_\w+", text))
    return {name.removesuffix(part) for name in names for part in PARTS if name.endswith(part)} | {
        name for name in names if not name.endswith(PARTS)
    }


def test_every_metric_is_shown_and_no_other():
    known = {metric.name for metric in NAMES}
    assert used() - known <= OF_THE_CLIENT
    assert known - used() == NOT_SHOWN


def test_labels_are_those_of_the_metrics():
    """What a query sums by or filters on is a label of its metric, or Prometheus' own."""
    labels = {metric.name: {*metric.labels, "le"} for metric in NAMES}
    ours = {"namespace", "job", "instance"}
    for _, expression in queries():
        names = {name for name in labels if re.search(rf"\b{name}(?:_bucket|_sum|_count)?\b", expression)}
        wanted = {
            label.strip() for group in re.findall(r"(?:by|on) \(([^)]*)\)", expression) for label in group.split(",")
        }
        wanted |= set(re.findall(r"[{,](\w+)=", expression))
        assert wanted <= ours.union(*(labels[name] for name in names)), expression


def test_panels_fill_the_grid_without_lying_over_each_other():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == [
        "Is somebody looking?",
        "Flow",
        "Sources",
        "Alerts",
        "Sinks",
        "State and memory",
        "Detection health",
    ]


def test_the_datasource_is_a_variable():
    assert DASHBOARD["uid"] == "eastwest"
    assert "__inputs" not in DASHBOARD
    assert {variable["name"] for variable in DASHBOARD["templating"]["list"]} == {"datasource", "namespace", "job"}
    for panel in DASHBOARD["panels"]:
        assert panel["type"] == "row" or panel["datasource"]["uid"] == "${datasource}"
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'namespace=~"$namespace",job=~"$job"' in target["expr"]

"""What counts as found."""

from types import SimpleNamespace

from detector.alerts.model import iso
from detector.drill.cast import Campaign, Hop
from detector.drill.measure import judged, quantile
from detector.drill.records import Written

MINUTE = 60_000_000
AT = 1_772_409_600_000_000


def result(*times):
    alerts = [SimpleNamespace(status="open", ts=iso(ts), src="10.0.0.1", dst="10.0.0.2") for ts in times]
    return SimpleNamespace(alerts=alerts, incidents=[])


def told(drill, control):
    hop = Hop("one", "T1021.002", "10.0.0.1", "10.0.0.2", "anna", "smb", known=False, at=AT)
    written = Written(1, {}, {0: (AT, AT + MINUTE)})
    [(_, [seen])] = judged([Campaign("one", "T1021.002", "minutes", (hop,))], written, drill, control)
    return seen.told


def test_what_is_told_within_the_hop_is_found():
    assert told(result(AT), result()) == AT
    assert told(result(AT + 2 * MINUTE), result()) == AT + 2 * MINUTE  # a minute of slack
    assert told(result(AT + 3 * MINUTE, AT - 2 * MINUTE), result()) is None


def test_what_the_history_tells_without_the_drill_is_no_credit():
    assert told(result(AT), result(AT)) is None
    assert told(result(AT, AT + MINUTE), result(AT)) == AT + MINUTE


def test_quantiles_are_values_that_were():
    assert quantile([4, 1, 3, 2], 0.5) == 2
    assert quantile(list(range(1, 11)), 0.9) == 9
    assert quantile([], 0.5) is None

"""Known attacks: the file people write, and what it says of a result."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.alerts.model import Alert, Incident, Step, iso
from detector.backtest.labels import SLACK_US, Label, load_labels, measure, parse_time
from detector.errors import ConfigError

HEADER = "campaign,start,end,src,dst,technique\n"
MINUTE = 60_000_000


def load(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding=encoding)
    return load_labels(path)


def test_a_file(tmp_path):
    text = HEADER + "a,2026-03-02T07:00:00Z,2026-03-02T08:10:00+01:00,10.0.0.1,::ffff:10.0.0.2,T1021\n,,,,,\n"
    first, second = load(tmp_path, text, "utf-8-sig")
    assert first == Label("a", 1_772_434_800_000_000, 1_772_435_400_000_000, "10.0.0.1", "10.0.0.2", "T1021")
    assert second == Label("unnamed", None, None, None, None, None)


def test_columns_may_stand_in_any_order_and_more_may_follow(tmp_path):
    text = "note,technique,dst,src,end,start,campaign\nx,T1,10.0.0.2,10.0.0.1,20,10,a\nshort,,10.0.0.3\n"
    assert [label.dst for label in load(tmp_path, text)] == ["10.0.0.2", "10.0.0.3"]


@pytest.mark.parametrize(
    ("row", "key", "problem"),
    [
        ("a,yesterday,,,,", "line 2", "start: 'yesterday' is not a time"),
        ("a,,1772434800000,,,", "line 2", "end: '1772434800000' is not a time in epoch seconds"),
        ("a,nan,,,,", "line 2", "start: 'nan' is not"),
        ("a,inf,,,,", "line 2", "start: 'inf' is not"),
        ("a,,,10.0.0.256,,", "line 2", "src: '10.0.0.256' is not an address"),
        ("a,,,,db01,", "line 2", "dst: 'db01' is not an address"),
        ("a,20,10,,,", "line 2", "end: is before the start"),
        ("a,,,,,\n\n# later\n\na,x,,,,", "line 6", "start: 'x'"),
        ('"a\nb",,,,,\na,x,,,,', "line 4", "start: 'x'"),
    ],
)
def test_what_is_wrong_is_named_by_line(tmp_path, row, key, problem):
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, HEADER + row + "\n")
    assert raised.value.key == key
    assert raised.value.problem.startswith(problem)


@pytest.mark.parametrize("text", ["", "campaign,start,end,src,technique\n"])
def test_a_missing_column_is_named(tmp_path, text):
    with pytest.raises(ConfigError, match=r"header: needs the columns .*; missing (campaign|dst)"):
        load(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read as CSV"):
        load_labels(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as CSV"):
        load_labels(tmp_path / "binary.csv")


@given(st.integers(0, 4_102_444_800_000_000))
def test_times_as_we_write_them_are_read_back(micros):
    assert parse_time(iso(micros)) == micros


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1772434800", 1_772_434_800),
        ("1772434800.25", 1_772_434_800.25),
        ("2026-03-02T07:00", 1_772_434_800),
        ("2026-03-02 07:00:00", 1_772_434_800),
        ("2026-03-02", 1_772_409_600),
    ],
)
def test_times_people_type(text, seconds):
    assert parse_time(text) == seconds * 1e6


@pytest.mark.parametrize(
    ("label", "ts", "src", "dst", "covered"),
    [
        (Label("a", None, None, None, None, None), 0, "x", "y", True),
        (Label("a", None, None, "x", "y", None), 0, "x", "y", True),
        (Label("a", None, None, "x", None, None), 0, "y", "x", False),
        (Label("a", None, None, None, "y", None), 0, "y", "x", False),
        (Label("a", SLACK_US, None, None, None, None), 0, "x", "y", True),
        (Label("a", SLACK_US + 1, None, None, None, None), 0, "x", "y", False),
        (Label("a", None, 0, None, None, None), SLACK_US, "x", "y", True),
        (Label("a", None, 0, None, None, None), SLACK_US + 1, "x", "y", False),
    ],
)
def test_covers(label, ts, src, dst, covered):
    assert label.covers(ts, src, dst) is covered


def alert(ts, src, dst):
    fields = dict.fromkeys(Alert.__slots__)
    return Alert(**{**fields, "ts": iso(ts), "src": src, "dst": dst})


def incident(*steps):
    path = [Step(**{**dict.fromkeys(Step.__slots__), "ts": iso(t), "src": a, "dst": b}) for t, a, b in steps]
    return Incident(**{**dict.fromkeys(Incident.__slots__), "path": tuple(path)})


def test_measure():
    labels = [
        Label("a", 0, MINUTE, "x", "y", None),
        Label("a", 10 * MINUTE, 11 * MINUTE, "y", "z", None),
        Label("a", 20 * MINUTE, 21 * MINUTE, "z", "w", None),
        Label("b", 0, MINUTE, "p", "q", None),
    ]
    alerts = [alert(10 * MINUTE, "y", "z"), alert(10 * MINUTE, "z", "y"), alert(10 * MINUTE, "n", "m")]
    incidents = [incident((10 * MINUTE, "y", "z"), (20 * MINUTE, "z", "w")), incident((0, "n", "m"))]
    found = measure(labels, alerts, incidents, days=0.5)
    assert found["campaigns"] == [
        {
            "campaign": "a", "found": True, "first_alert": "1970-01-01T00:10:00+00:00", "hops": 3, "hops_found": 2,
            "hops_before_first_alert": 1, "minutes_to_detect": 10.0,
        },
        {
            "campaign": "b", "found": False, "first_alert": None, "hops": 1, "hops_found": 0,
            "hops_before_first_alert": None, "minutes_to_detect": None,
        },
    ]  # fmt: skip
    assert {name: found[name] for name in found if name != "campaigns"} == {
        "campaigns_found": 1, "campaigns_total": 2, "hops_found": 2, "hops_total": 4, "true_alerts": 1,
        "false_alerts": 2, "false_alerts_per_day": 4.0, "true_incidents": 1, "false_incidents": 1,
    }  # fmt: skip


def test_nothing_found_and_nothing_labelled():
    found = measure([], [alert(0, "a", "b")], [], days=0)
    assert (found["campaigns"], found["false_alerts"], found["false_alerts_per_day"]) == ([], 1, 24.0)

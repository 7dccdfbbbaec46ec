"""An exporter that falls silent is told once, by the brokers' time, and so is its return."""

import logging

import polars as pl
import pytest

from detector.records import FLOW, Decoded
from detector.service import exporters
from detector.service.exporters import FORGET_US, SILENT_US, Exporters

MINUTE = 60_000_000


def rows(*names):
    flows = pl.DataFrame({"exporter": list(names)}, schema={"exporter": pl.String()})
    return Decoded(flows=flows.with_columns(pl.lit(None, kind).alias(name) for name, kind in FLOW.items()
                                            if name != "exporter"))  # fmt: skip


@pytest.fixture
def heard(caplog):
    caplog.set_level(logging.INFO, "eastwest")
    return Exporters()


def told(caplog):
    return [(record.getMessage(), record.fields["exporter"]) for record in caplog.records]


def test_one_of_two_falls_silent_and_comes_back(heard, caplog):
    for minute in range(30):
        heard.heard("flows", rows("192.0.2.1", "192.0.2.2", "192.0.2.2") if minute < 10 else rows("192.0.2.1"),
                    minute * MINUTE)  # fmt: skip
        assert heard.counts() == (2, int(minute > 9 + SILENT_US // MINUTE)), minute
    assert told(caplog) == [("fell silent", "192.0.2.2")]
    heard.heard("flows", rows("192.0.2.2"), 31 * MINUTE)
    assert heard.counts() == (2, 0)
    assert told(caplog)[1:] == [("is heard again", "192.0.2.2")]


def test_one_that_speaks_seldom_is_not_missed_before_it_is_unusual(heard):
    for hour in range(4):
        heard.heard("flows", rows("192.0.2.9"), hour * 60 * MINUTE)
    heard.heard("flows", rows("192.0.2.1"), 3 * 60 * MINUTE + 170 * MINUTE)
    assert heard.counts() == (2, 0)
    heard.heard("flows", rows("192.0.2.1"), 3 * 60 * MINUTE + 181 * MINUTE)
    assert heard.counts() == (2, 1)


def test_rows_without_a_name_count_for_their_topic(heard, caplog):
    heard.heard("zeek", rows(None), 0)
    heard.heard("flows", rows("192.0.2.1"), SILENT_US + 1)
    assert heard.counts() == (2, 1)
    assert told(caplog) == [("fell silent", "zeek")]


def test_who_was_silent_for_a_day_is_forgotten(heard):
    heard.heard("flows", rows("192.0.2.1"), 0)
    heard.heard("flows", rows("192.0.2.2"), FORGET_US + 1)
    assert heard.counts() == (1, 0)


def test_catching_up_makes_nobody_silent(heard):
    heard.heard("flows", rows("192.0.2.1"), 0)
    assert heard.counts() == (1, 0)
    heard.heard("flows", rows("192.0.2.1"), FORGET_US * 3)
    assert heard.counts() == (1, 0)


def test_made_up_names_have_a_bound(heard, monkeypatch):
    monkeypatch.setattr(exporters, "_MOST", 10)
    heard.heard("flows", rows(*(f"sensor-{number}" for number in range(100))), 0)
    assert heard.counts() == (10, 0)
    heard.heard("flows", rows("x" * 10_000), 0)
    assert max(map(len, heard._heard)) <= 255


def test_one_long_outage_does_not_excuse_the_next(heard):
    hour = 60 * MINUTE
    for at in (0, 1, 20, 21):  # hours; away from 1 to 20
        heard.heard("flows", rows("192.0.2.1", "192.0.2.2"), at * hour)
    heard.heard("flows", rows("192.0.2.2"), 34 * hour)
    assert heard.counts() == (2, 1)

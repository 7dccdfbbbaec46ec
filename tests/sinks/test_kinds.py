from pathlib import Path

import pytest

from detector.sinks.console import ConsoleSink
from detector.sinks.file import FileSink
from detector.sinks.kafka import KafkaSink
from detector.sinks.kinds import sink_of


def test_every_kind_is_made_of_its_own_options(capfd):
    assert isinstance(sink_of("file", {"path": Path("alerts.ndjson")}, {}), FileSink)
    with capfd.disabled():
        assert isinstance(sink_of("console", {}, {}), ConsoleSink)
    assert isinstance(sink_of("kafka", {"topic": "alerts"}, {"bootstrap_servers": ["host:9092"]}), KafkaSink)


def test_another_kind_is_an_error():
    with pytest.raises(ValueError, match="no kind of sink: pigeon"):
        sink_of("pigeon", {}, {})


def test_an_option_of_another_kind_is_an_error():
    with pytest.raises(TypeError, match="topic"):
        sink_of("file", {"path": Path("alerts.ndjson"), "topic": "alerts"}, {})

from pathlib import Path

import pytest
from pydantic import TypeAdapter

from detector.service.settings_sinks import AnySink
from detector.service.sink_options import options_of
from detector.sinks.console import ConsoleSink
from detector.sinks.file import FileSink
from detector.sinks.kafka import KafkaSink
from detector.sinks.kinds import sink_of


def test_every_kind_is_made_of_its_own_options(capfd):
    assert isinstance(sink_of("file", {"path": Path("alerts.ndjson")}, {}), FileSink)
    with capfd.disabled():
        assert isinstance(sink_of("console", {}, {}), ConsoleSink)
    assert isinstance(sink_of("kafka", {"topic": "alerts"}, {"bootstrap_servers": ["host:9092"]}), KafkaSink)


SETTINGS = {
    "splunk": {"token_env": "A"},
    "elastic": {"api_key_env": "A"},
    "sentinel": {
        "rule": "dcr-" + "0" * 32, "stream": "Custom-A", "tenant": "t", "client_id": "c", "client_secret_env": "A"
    },
    "secops": {"credentials_file": "account.json"},
    "webhook": {"secret_env": "A"},
}  # fmt: skip


@pytest.mark.parametrize("kind", SETTINGS)
def test_the_settings_of_each_kind_are_its_options(kind):
    wish = TypeAdapter(AnySink).validate_python({"type": kind, "url": "https://siem.example", **SETTINGS[kind]})
    sink = sink_of(kind, options_of(wish), {})
    assert type(sink).__name__.lower() == f"{kind}sink"
    sink.close()


def test_another_kind_is_an_error():
    with pytest.raises(ValueError, match="no kind of sink: pigeon"):
        sink_of("pigeon", {}, {})


def test_an_option_of_another_kind_is_an_error():
    with pytest.raises(TypeError, match="topic"):
        sink_of("file", {"path": Path("alerts.ndjson"), "topic": "alerts"}, {})

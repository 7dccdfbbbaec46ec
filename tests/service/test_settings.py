"""Settings of the service: where values come from, what is refused and how that is told."""

import traceback
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from detector.config import Settings
from detector.errors import ConfigError
from detector.renderings.kinds import RENDERINGS
from detector.service.loading import json_schema, keys, load_service_settings, origins
from detector.service.settings import Bucket, ServiceSettings
from detector.service.settings_sinks import AnyFormat, FileSink, KafkaSink
from detector.sinks.outbox import LIMIT_BYTES, SEGMENT_BYTES
from detector.state.checkpoints import KEEP
from detector.state.stores import Access

SYSLOG = {"type": "syslog", "host": "siem.example"}
SPLUNK = {"type": "splunk", "url": "https://splunk.example:8088", "token_env": "TOKEN"}
ELASTIC = {"type": "elastic", "url": "https://elastic.example:9200"}
LOADED = {"EASTWEST_HTTP__PORT": "9999", "EASTWEST_ALERTS_PER_DAY": "7", "EASTWEST_KAFKA__TOPICS": "a, b"}


def test_the_smallest_file_leaves_everything_else_at_its_default(written):
    settings = load_service_settings(written())
    assert settings.engine == Settings()
    assert (settings.http.host, settings.http.port, settings.state.every_seconds) == ("127.0.0.1", 9108, 30)
    assert settings.kafka.topics[0].name == "zeek"
    assert settings.kafka.topics[0].format == "auto"
    assert settings.train_until_us is None


def test_the_environment_beats_the_file(written):
    path = written({"http.port": 1, "http.host": "::1", "engine.alerts_per_day": 2, "engine.max_seen": 5000})
    settings = load_service_settings(path, LOADED)
    assert (settings.http.port, settings.http.host) == (9999, "::1")
    assert (settings.engine.alerts_per_day, settings.engine.max_seen) == (7, 5000)
    assert [topic.name for topic in settings.kafka.topics] == ["a", "b"]


def test_everything_may_come_from_the_environment():
    settings = load_service_settings(
        None,
        {
            "EASTWEST_KAFKA__BOOTSTRAP": "[2001:db8::1]:9092,kafka-2:9093",
            "EASTWEST_KAFKA__TOPICS": "zeek",
            "EASTWEST_KAFKA__SECURITY__PROTOCOL": "SASL_SSL",
            "EASTWEST_KAFKA__SECURITY__SASL__MECHANISM": "OAUTHBEARER",
            "EASTWEST_KAFKA__SECURITY__SASL__TOKEN_FILE": "token",
            "EASTWEST_STATE__URL": "s3://bucket/a",
            "EASTWEST_OUTBOX__FOLDER": "outbox",
            "EASTWEST_STATE__ALLOW_COLD_START": "true",
            "EASTWEST_DEAD_LETTERS__TOPIC": "dead",
            "EASTWEST_MODELS": "forest,timing",
            "EASTWEST_TRAIN_UNTIL": "2026-03-02T07:00:00",
            "EASTWEST_PLANT": "",  # as if it were not set
        },
    )
    assert settings.kafka.bootstrap == ("[2001:db8::1]:9092", "kafka-2:9093")
    assert settings.kafka.security.sasl.token_file == Path("token")
    assert settings.state.allow_cold_start
    assert settings.engine.models == ("timing", "forest")
    assert settings.plant is None
    assert settings.train_until_us == datetime(2026, 3, 2, 7, tzinfo=UTC).timestamp() * 1e6


def test_every_variable_that_is_told_is_read(written):
    for key in keys():
        if key.variable is not None:
            assert origins(written(), {key.variable: "x"})[key.path] == key.variable


def test_where_values_come_from_is_told(written):
    path = written({"alerts.sinks": [{"type": "console"}]})
    told = origins(path, LOADED)
    assert told["http.port"] == "EASTWEST_HTTP__PORT"
    assert told["engine.alerts_per_day"] == "EASTWEST_ALERTS_PER_DAY"
    assert told["kafka.topics"] == "EASTWEST_KAFKA__TOPICS"
    assert told["alerts.sinks"] == told["state.url"] == str(path)
    assert "http.host" not in told


def test_variables_of_others_do_not_matter_and_misspelt_ones_are_told(written):
    others = {"EASTWEST_PORT": "tcp://10.0.0.1:80", "EASTWEST_SERVICE_HOST": "10.0.0.1", "EASTWEST_KAFKA_PASSWORD": "x"}
    assert load_service_settings(written(), others) == load_service_settings(written())
    with pytest.raises(
        ConfigError, match=r"^EASTWEST_HTTP__PROT: no such setting; did you mean EASTWEST_HTTP__PORT\?$"
    ):
        load_service_settings(written(), {"EASTWEST_HTTP__PROT": "1"})


def test_an_empty_section_is_its_defaults(written):
    path = written()
    path.write_text(path.read_text() + "log:\nhttp:\nplant:\n", "utf-8")
    assert load_service_settings(path) == load_service_settings(written())


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"kafka.bootstap": ["a:1"]}, "kafka.bootstap", "no such setting; did you mean bootstrap?"),
        ({"outbox.password": "x"}, "outbox.password", "there are folder, limit_bytes, segment_bytes"),
        ({"kafka.bootstrap": None}, "kafka.bootstrap", "is missing; allowed: a list of host:port"),
        ({"kafka.bootstrap": ["kafka"]}, "kafka.bootstrap", "number 1 is not host:port"),
        ({"kafka.bootstrap": ["a:1", "b:70000"]}, "kafka.bootstrap", "number 2 is not host:port"),
        ({"kafka.bootstrap": ["user:pw@a:1"]}, "kafka.bootstrap", "number 1 is not host:port"),
        ({"kafka.topics": []}, "kafka.topics", "at least 1 item"),
        ({"kafka.topics": ["a", "a"]}, "kafka.topics", "topic a is listed twice"),
        ({"kafka.topics": ["a", {"pattern": "[ab]"}]}, "kafka.topics", "also matched by the pattern [ab]"),
        ({"kafka.topics": ["a b"]}, "kafka.topics[0].name", "is no topic name"),
        ({"kafka.topics": ["ok", {"pattern": "(a"}]}, "kafka.topics[1].pattern", "is no regular expression"),
        ({"kafka.topics": [{"name": "a", "pattern": "b"}]}, "kafka.topics[0]", "either a name or a pattern"),
        ({"kafka.topics": [{"name": "a", "format": "zeek.con"}]}, "kafka.topics[0].format", "some are zeek.conn"),
        ({"kafka.stall_seconds": 0}, "kafka.stall_seconds", "allowed: a number, from 5, to 3,600"),
        ({"kafka.security": {"ca_file": "ca.pem"}}, "kafka.security", "ca_file has no use with protocol PLAINTEXT"),
        ({"kafka.security": {"protocol": "SSL", "key_file": "k"}}, "kafka.security", "a key wants cert_file"),
        ({"kafka.security": {"protocol": "SASL_SSL"}}, "kafka.security", "SASL_SSL wants sasl"),
        ({"kafka.security.protocol": "TLS"}, "kafka.security.protocol", "allowed: PLAINTEXT, SSL, SASL_PLAINTEXT"),
        ({"state.url": "ftp://x/y"}, "state.url", "neither a folder nor"),
        ({"state.url": "s3:///y"}, "state.url", "neither a folder nor"),
        ({"state.url": "s3://name:word@bucket/y"}, "state.url", "do not belong into a URL"),
        ({"state.url": "file://host/x"}, "state.url", "neither a folder nor"),
        ({"state.url": "s3://bucket/x?endpoint=y"}, "state.url", "neither a folder nor"),
        ({"state.s3": {"region": "eu-central-1"}}, "state", "s3 has no use with a folder"),
        ({"state.s3": {"endpoint": "https://u:p@minio:9000"}}, "state.s3.endpoint", "is no such URL"),
        ({"state.s3": {"endpoint": "minio:9000"}}, "state.s3.endpoint", "is no such URL"),
        ({"state.s3": {"secret_key_file": "a"}}, "state.s3", "want each other"),
        ({"state.url": "outbox"}, "", "state.url and outbox.folder must be apart"),
        ({"state.url": "outbox/state"}, "", "state.url and outbox.folder must be apart"),
        ({"state.url": "file:///x", "outbox.folder": "/x/y"}, "", "state.url and outbox.folder must be apart"),
        ({"outbox.limit_bytes": 20 << 20}, "outbox", "must hold two segments"),
        ({"dead_letters": {"topic": "a", "file": "b"}}, "dead_letters", "either a topic or a file"),
        ({"dead_letters": {"topic": "zeek"}}, "", "we would read our own words"),
        (
            {"alerts.sinks": [{"type": "fil"}]},
            "alerts.sinks[0]",
            "type must be one of 'file', 'console', 'kafka', 'syslog', ",
        ),
        ({"alerts.sinks": [SYSLOG | {"transport": "tcp", "ca_file": "x"}]}, "alerts.sinks[0]", "ca_file has no use"),
        ({"alerts.sinks": [SYSLOG | {"key_file": "x"}]}, "alerts.sinks[0]", "key_file wants cert_file"),
        ({"alerts.sinks": [SYSLOG | {"transport": "udp", "limit_bytes": 65508}]}, "alerts.sinks[0]", "at most 65507"),
        ({"alerts.sinks": [SYSLOG | {"hostname": "ä"}]}, "alerts.sinks[0].hostname", "printable ASCII"),
        ({"alerts.sinks": [{"type": "console"}, {"type": "file"}]}, "alerts.sinks[1].path", "is missing"),
        ({"alerts.sinks": [{"type": "console", "format": "ecx"}]}, "alerts.sinks[0].format", "allowed: native, ecs"),
        ({"alerts.sinks": [SPLUNK | {"format": "cef"}]}, "alerts.sinks[0].format", "allowed: native, ecs, ocsf, cim"),
        ({"alerts.sinks": [SPLUNK | {"url": "https://a:b@x"}]}, "alerts.sinks[0].url", "is no such URL"),
        ({"alerts.sinks": [SPLUNK | {"url": "siem:8088"}]}, "alerts.sinks[0].url", "is no such URL"),
        ({"alerts.sinks": [SPLUNK | {"token_env": None}]}, "alerts.sinks[0]", "one of token_file and token_env"),
        ({"alerts.sinks": [SPLUNK | {"token_file": "x"}]}, "alerts.sinks[0]", "one of token_file and token_env"),
        ({"alerts.sinks": [SPLUNK | {"key_file": "x"}]}, "alerts.sinks[0]", "key_file wants cert_file too"),
        ({"alerts.sinks": [SPLUNK | {"token": "s3cr3t"}]}, "alerts.sinks[0].token", "did you mean token_"),
        ({"alerts.sinks": [ELASTIC | {"username": "a"}]}, "alerts.sinks[0]", "one of password_file and password_env"),
        ({"alerts.sinks": [ELASTIC | {"password_env": "A"}]}, "alerts.sinks[0]", "username and password, or neither"),
        ({"alerts.sinks": [{"type": "console"}, {"type": "console"}]}, "alerts.sinks", "two sinks are called console"),
        ({"engine": {"alerts_per_day": 0}}, "engine.alerts_per_day", "greater than 0; allowed: a number, above 0"),
        ({"http": 5}, "http", "valid dictionary"),
        ({"http.port": 70_000}, "http.port", "allowed: a whole number, from 0, to 65,535"),
        ({"train_until": 2026}, "train_until", "is not a time such as"),
        ({"stage": ["score"]}, "stage", "no such setting; did you mean stages?"),
        ({"stages": ["score"]}, "stages", "[score] is no share of the work: score and correlate are one process"),
        ({"stages": ["normalize", "score"]}, "stages", "[normalize, score] is no share of the work"),
        ({"stages": []}, "stages", "is no share of the work"),
        ({"stages": ["tell"]}, "stages[0]", "allowed: [normalize, score, correlate], [normalize] or"),
        ({"rows.prefix": "ze"}, "", "topic zeek begins as topics of rows do"),
        ({"rows.prefix": "a" * 246, "stages": ["normalize"]}, "", "is no topic name"),
        ({"rows.prefix": "a b"}, "rows.prefix", "is no topic name"),
        ({"kafka.group_instance_id": ".."}, "kafka.group_instance_id", "up to 200 of letters"),
    ],
)
def test_what_is_wrong_is_told_with_file_key_and_what_is_allowed(written, changes, key, said):
    path = written(changes)
    with pytest.raises(ConfigError) as caught:
        load_service_settings(path)
    assert (caught.value.file, caught.value.key) == (str(path), key)
    assert said in caught.value.problem


@pytest.mark.parametrize(
    ("sasl", "good"),
    [
        ({"mechanism": "PLAIN", "username": "u", "password_file": "p"}, True),
        ({"mechanism": "SCRAM-SHA-512", "username_file": "u", "password_env": "P"}, True),
        ({"mechanism": "OAUTHBEARER", "token_file": "t"}, True),
        ({"mechanism": "PLAIN", "username": "u"}, False),
        ({"mechanism": "PLAIN", "username": "u", "username_file": "u", "password_file": "p"}, False),
        ({"mechanism": "PLAIN", "username": "u", "password_file": "p", "password_env": "P"}, False),
        ({"mechanism": "SCRAM-SHA-256", "username": "u", "password_file": "p", "token_file": "t"}, False),
        ({"mechanism": "OAUTHBEARER", "token_file": "t", "username": "u"}, False),
        ({"mechanism": "OAUTHBEARER"}, False),
    ],
)
def test_sasl_wants_what_its_mechanism_needs(written, sasl, good):
    path = written({"kafka.security": {"protocol": "SASL_SSL", "sasl": sasl}})
    if good:
        assert load_service_settings(path).kafka.security.sasl.mechanism == sasl["mechanism"]
        return
    with pytest.raises(ConfigError) as caught:
        load_service_settings(path)
    assert caught.value.key == "kafka.security.sasl"
    assert sasl["mechanism"] in caught.value.problem


def test_no_two_things_write_to_one_place(written):
    for changes in (
        {"alerts.sinks": [{"type": "file", "path": "a"}], "dead_letters": {"file": "a"}},
        {
            "alerts.sinks": [
                {"type": "kafka", "topic": "a", "name": "x"},
                {"type": "kafka", "topic": "a", "name": "y"},
            ]
        },
    ):
        with pytest.raises(ConfigError, match="write to the same"):
            load_service_settings(written(changes))
    with pytest.raises(ConfigError, match="our own words"):
        load_service_settings(
            written({"kafka.topics": [{"pattern": "al.*"}], "alerts.sinks": [{"type": "kafka", "topic": "alerts"}]})
        )


def test_a_bucket_is_reached_as_the_store_wants_it(written):
    bucket = {"endpoint": "https://minio.example:9000", "access_key_file": "a", "secret_key_file": "b"}
    settings = load_service_settings(written({"state.url": "s3://bucket/prefix", "state.s3": bucket}))
    assert Access(**dict(settings.state.s3)).endpoint == "https://minio.example:9000"
    assert {field.name for field in fields(Access)} == set(Bucket.model_fields)


def test_defaults_are_those_of_the_parts(written):
    settings = load_service_settings(written())
    assert (settings.outbox.segment_bytes, settings.outbox.limit_bytes) == (SEGMENT_BYTES, LIMIT_BYTES)
    assert settings.state.keep == KEEP


def test_a_sink_may_have_any_format_that_there_is():
    assert set(get_args(AnyFormat)) == set(RENDERINGS)


def test_sinks_are_told_apart_by_type(written):
    sinks = [{"type": "file", "path": "a"}, {"type": "kafka", "topic": "alerts", "name": "siem"}]
    settings = load_service_settings(written({"alerts.sinks": sinks}))
    assert [type(sink) for sink in settings.alerts.sinks] == [FileSink, KafkaSink]
    assert [sink.label for sink in settings.alerts.sinks] == ["file", "siem"]


@pytest.mark.parametrize(
    "text",
    [
        "kafka: {security: {sasl: {password: hunter2}}}",
        "kafka: {security: {sasl: {mechanism: hunter2}}}",
        "kafka: {bootstrap: ['u:hunter2@kafka:9092'], topics: [a]}",
        "kafka: hunter2",
        "hunter2",
        "password: hunter2: [",
        "state: {url: 's3://key:hunter2@bucket/x'}",
        "password: !hunter2 x\n\tb",
    ],
)
def test_a_secret_in_the_wrong_place_is_not_told(written, text):
    with pytest.raises(ConfigError) as caught:
        load_service_settings(written(text))
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_files_that_cannot_be_read_are_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_service_settings(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xe4")
    with pytest.raises(ConfigError, match="cannot be read: not UTF-8"):
        load_service_settings(tmp_path / "latin.yaml")
    (tmp_path / "list.yaml").write_text("- a", "utf-8")
    with pytest.raises(ConfigError, match="must be a mapping"):
        load_service_settings(tmp_path / "list.yaml")


def test_the_schema_is_of_the_model_and_says_what_each_key_is():
    schema = json_schema()
    assert schema["required"] == ["kafka", "state", "outbox"]
    assert {"type": "string"} in schema["$defs"]["Kafka"]["properties"]["topics"]["items"]["anyOf"]
    assert all(key.field.description for key in keys())
    assert set(schema["properties"]) == set(ServiceSettings.model_fields)
    assert schema["additionalProperties"] is False

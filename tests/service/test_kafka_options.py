"""What kafka-python is given, and that secrets are read when they are needed and shown nowhere."""

import re
import ssl
import subprocess

import pytest
from kafka import KafkaConsumer, KafkaProducer
from kafka.net.transport import KafkaSSLTransport

from detector.errors import ConfigError
from detector.service.kafka_options import SecretFile, SecretVariable, connection_options, source_settings
from detector.service.loading import load_service_settings
from detector.sources.kafka import KafkaSettings


@pytest.fixture
def kafka(written, tmp_path):
    def load(**security):
        return load_service_settings(written({"kafka.security": security} if security else {})).kafka

    return load


def test_every_option_is_one_of_kafka_python(kafka):
    options = connection_options(
        kafka(
            protocol="SASL_SSL",
            ca_file="ca.pem",
            cert_file="c.pem",
            key_file="k.pem",
            key_password_file="p",
            sasl={"mechanism": "SCRAM-SHA-512", "username": "u", "password_file": "p"},
        )
    )
    for client in (KafkaConsumer, KafkaProducer):
        assert set(options) <= set(client.DEFAULT_CONFIG)
    assert options["bootstrap_servers"] == ["kafka-1.example:9092"]
    assert (options["ssl_cafile"], options["ssl_certfile"], options["ssl_keyfile"]) == ("ca.pem", "c.pem", "k.pem")
    assert options["ssl_check_hostname"] is True
    assert options["security_protocol"] == "SASL_SSL"


def test_the_source_gets_what_is_set_and_its_own_defaults(written):
    changes = {"bootstrap": ["a:1", "b:2"], "topics": ["zeek", "flows.x"], "isolation": "read_uncommitted"}
    settings = source_settings(load_service_settings(written({"kafka": {**changes, "stall_seconds": 7}})).kafka)
    assert settings == KafkaSettings(
        bootstrap_servers=("a:1", "b:2"),
        topics=("zeek", "flows.x"),
        security={"security_protocol": "PLAINTEXT", "ssl_check_hostname": True},
        isolation_level="read_uncommitted",
        stall_seconds=7,
    )


def test_names_become_part_of_a_pattern(written):
    topics = ["flows.x", {"pattern": "a|b"}, {"pattern": "zeek.*"}]
    settings = source_settings(load_service_settings(written({"kafka.topics": topics})).kafka)
    assert settings.topics == ()
    matched = [
        name for name in ("flows.x", "flowsyx", "a", "b", "ab", "zeek-1") if re.fullmatch(settings.pattern, name)
    ]
    assert matched == ["flows.x", "a", "b", "zeek-1"]


def test_without_security_nothing_of_it_is_set(kafka):
    options = connection_options(kafka())
    assert options["security_protocol"] == "PLAINTEXT"
    assert not [name for name in options if name.startswith("sasl")]


def test_secrets_are_read_when_called_and_never_shown(kafka, tmp_path, monkeypatch):
    (tmp_path / "password").write_text("hunter2\n")
    monkeypatch.setenv("WORD", "hunter2")
    for sasl in (
        {"mechanism": "PLAIN", "username": "u", "password_file": str(tmp_path / "password")},
        {"mechanism": "PLAIN", "username_file": str(tmp_path / "password"), "password_env": "WORD"},
        {"mechanism": "OAUTHBEARER", "token_file": str(tmp_path / "password")},
    ):
        settings = kafka(protocol="SASL_SSL", sasl=sasl)
        assert (
            "hunter2"
            not in repr(settings)
            + repr(connection_options(settings))
            + repr(source_settings(settings))
            + settings.model_dump_json()
        )
    assert SecretFile(tmp_path / "password")() == SecretVariable("WORD")() == "hunter2"
    (tmp_path / "password").write_text("renewed")
    assert SecretFile(tmp_path / "password")() == "renewed"


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff", b"a\x01b"])
def test_what_is_no_secret_is_refused_without_telling_it(tmp_path, content):
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=r"one line|not UTF-8") as caught:
        SecretFile(tmp_path / "secret")()
    assert "two" not in str(caught.value)


def test_a_missing_secret_is_told_by_its_place(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        SecretFile(tmp_path / "none")()
    with pytest.raises(ConfigError, match=r"^WORD: is not set"):
        SecretVariable("WORD")()


def test_each_connection_reads_key_and_password_again(kafka, tmp_path, require_tool):
    """kafka-python makes a TLS context a connection; a key under a new password is taken without a restart."""
    key, certificate, password = (tmp_path / name for name in ("key.pem", "cert.pem", "password"))
    options = connection_options(
        kafka(protocol="SSL", cert_file=str(certificate), key_file=str(key), key_password_file=str(password))
    )
    tls = dict.fromkeys(KafkaSSLTransport.DEFAULT_CONFIG) | {k: v for k, v in options.items() if k.startswith("ssl_")}
    for word in ("first", "second"):
        password.write_text(word)
        command = (
            f"req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -days 1 -subj /CN=eastwest -passout pass:{word}"
        )
        subprocess.run(
            [require_tool("openssl"), *command.split(), "-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
        assert KafkaSSLTransport._build_ssl_context(tls).verify_mode is ssl.CERT_REQUIRED
    password.write_text("wrong")
    with pytest.raises(ssl.SSLError):
        KafkaSSLTransport._build_ssl_context(tls)

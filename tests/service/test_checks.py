"""What `eastwest config check` finds out about the machine."""

import pytest

from detector.service.checks import check
from detector.service.loading import load_service_settings


@pytest.fixture
def found(written, tmp_path, monkeypatch):
    """Call it with changes to get {key: (text, fatal)}."""
    monkeypatch.chdir(tmp_path)

    def find(changes):
        findings = list(check(load_service_settings(written(changes))))
        assert len({finding.key for finding in findings}) == len(findings)
        return {finding.key: (finding.text, finding.fatal) for finding in findings}

    return find


QUIET = {"alerts.sinks": [{"type": "console"}], "dead_letters": {"file": "dead.ndjson"}}


def test_nothing_to_say(found):
    assert found(QUIET) == {}


def test_what_is_allowed_but_rarely_meant(found, tmp_path):
    (tmp_path / "word").write_text("x")
    (tmp_path / "word").chmod(0o600)
    sasl = {"mechanism": "PLAIN", "username": "u", "password_file": "word"}
    told = found(
        {
            "kafka.security": {"protocol": "SASL_PLAINTEXT", "sasl": sasl},
            "state.allow_cold_start": True,
            "http.host": "0.0.0.0",  # noqa: S104
        }
    )
    assert set(told) == {
        "kafka.security.protocol",
        "state.allow_cold_start",
        "http.host",
        "alerts.sinks",
        "dead_letters",
    }
    assert not any(fatal for _, fatal in told.values())
    assert "the secret" in told["kafka.security.protocol"][0]


def test_a_secret_that_everybody_can_read(found, tmp_path):
    (tmp_path / "word").write_text("hunter2" * 10)
    (tmp_path / "word").chmod(0o644)
    told = found({**QUIET, "state.hmac_key_file": "word"})
    assert told == {"state.hmac_key_file": ("word: everybody on this machine can read it", False)}


def test_files_variables_and_addresses_of_sinks(found, tmp_path):
    (tmp_path / "account").write_text('{\n"private_key":"x"\n}')
    (tmp_path / "two").write_text("a\nb")
    for name in ("account", "two"):
        (tmp_path / name).chmod(0o600)
    sinks = [
        {"type": "splunk", "url": "http://splunk.example:8088", "token_env": "NO_SUCH_VARIABLE"},
        {"type": "webhook", "url": "http://localhost:1", "secret_file": str(tmp_path / "two"), "ca_file": "missing"},
        {"type": "secops", "url": "https://eu-chronicle.googleapis.com/v1/projects/p/locations/eu/instances/i",
         "credentials_file": str(tmp_path / "account")},
    ]  # fmt: skip
    told = found({**QUIET, "alerts.sinks": sinks})
    assert {key: fatal for key, (_, fatal) in told.items() if key.startswith("alerts")} == {
        "alerts.sinks[0].token_env": True,
        "alerts.sinks[0].url": False,
        "alerts.sinks[1].secret_file": True,
        "alerts.sinks[1].ca_file": True,
    }


def test_files_that_are_missing_or_no_good(found, tmp_path):
    for name in ("empty", "short"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "plant.yaml").write_text("zones: 5")
    sasl = {"mechanism": "PLAIN", "username_file": "empty", "password_env": "WORD"}
    told = found(
        {
            **QUIET,
            "plant": "plant.yaml",
            "state.hmac_key_file": "short",
            "state.url": "s3://bucket",
            "state.s3": {"access_key_file": "none", "secret_key_file": "empty"},
            "kafka.security": {"protocol": "SASL_SSL", "ca_file": "none.pem", "sasl": sasl},
        }
    )
    assert {key: fatal for key, (_, fatal) in told.items()} == {
        "plant": True,
        "kafka.security.ca_file": True,
        "kafka.security.sasl.username_file": True,
        "kafka.security.sasl.password_env": True,
        "state.hmac_key_file": True,
        "state.s3.access_key_file": True,
        "state.s3.secret_key_file": True,
    }
    assert told["kafka.security.ca_file"][0] == "none.pem: cannot be read: No such file or directory"


def test_folders_that_cannot_be(found, tmp_path):
    (tmp_path / "file").touch()
    told = found({**QUIET, "outbox.folder": "file/outbox", "state.url": "s3://bucket/x"})
    assert [(key, fatal) for key, (_, fatal) in told.items()] == [("outbox.folder", True)]

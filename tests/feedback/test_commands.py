"""`eastwest feedback`: what is written stays valid, keeps what was there, and the log cannot be changed unseen."""

import hashlib

import orjson
import pytest
from typer.testing import CliRunner

from detector.alerts.decisions import load_decisions
from detector.alerts.model import Alert, Asset, Decision, to_json
from detector.cli import app
from detector.errors import ConfigError, UnreadableInput
from detector.feedback.writing import audit_path
from tests.alerts.test_model import PLAIN

RUNNER = CliRunner()
WHO = ["--by", "anna", "--why", 'known: it\'s "ours" # 1']
SECRET_BELL = "\x1b]0;owned\x07"


def feedback(*arguments):
    """What is printed; errors come as they are."""
    result = RUNNER.invoke(app, ["feedback", *map(str, arguments)], catch_exceptions=True, env={"COLUMNS": "220"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def decisions(tmp_path):
    return tmp_path / "decisions.yaml"


@pytest.fixture
def alerts(tmp_path):
    made = Decision("scan", "suppress", "anna", "monthly", "2026-04-01T00:00:00.000000Z")
    several = [
        Alert(**(PLAIN | {"alert_id": "a1", "title": f"First {SECRET_BELL}", "operation": "x::y"})),
        Alert(**(PLAIN | {"alert_id": "a2", "src_asset": Asset(role="scanner"), "dst_asset": Asset(role="PLC")})),
        Alert(**(PLAIN | {"alert_id": "a3", "src": "198.51.100.7", "status": "suppressed", "decision": made})),
    ]
    path = tmp_path / "alerts.ndjson"
    path.write_bytes(b"".join(to_json(alert) + b"\n" for alert in several))
    return path


def test_what_is_added_is_read_back_and_what_stood_there_stays(decisions):
    decisions.write_text("# our decisions\ndecisions: []\n", encoding="utf-8")
    name = feedback("add", decisions, *WHO, "--until", "30d", "--from", "2026-03-01", "--scope", "src=192.0.2.0/24",
                    "--scope", "service=smb").strip()  # fmt: skip
    feedback("add", decisions, *WHO, "--action", "learn", "--id", "second", "--scope", "technique=T1021")
    feedback("end", decisions, "second", *WHO)
    first, second, end = load_decisions(decisions)
    assert decisions.read_text("utf-8").startswith("# our decisions\n")
    assert (first.id, first.why) == (name, WHO[-1])
    assert (first.until - first.begin).days == 30
    assert {key: str(value) for key, value in first.scope.named.items()} == {"src": "192.0.2.0/24", "service": "smb"}
    assert (second.id, second.action, end.id, end.action) == ("second", "learn", "second", "end")


@pytest.mark.parametrize(
    ("likeness", "scope"),
    [
        ("edge", {"src": "192.0.2.1/32", "dst": "192.0.2.2/32"}),
        ("operation", {"src": "192.0.2.1/32", "dst": "192.0.2.2/32", "service": "smb"}),
        ("roles", {"src_role": "scanner", "dst_role": "PLC", "service": "smb"}),
        ("zones", {"src_zone": "it", "dst_zone": "ot", "service": "smb"}),
    ],
)
def test_a_decision_like_an_alert_has_the_scope_that_is_chosen(decisions, alerts, likeness, scope):
    like = ["--like", "a2", "--alerts", alerts, "--as", likeness, "--action", "learn"]
    feedback("add", decisions, *WHO, *like)
    [entry] = load_decisions(decisions)
    assert {key: str(value) for key, value in entry.scope.named.items()} == scope


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scope", "src=192.0.2.1"], "until is missing"),
        (["--until", "30d"], "names nothing"),
        (["--until", "30d", "--scope", "sauce=1"], "sauce"),
        (["--until", "30d", "--scope", "src"], "is not like src="),
        (["--until", "soon", "--scope", "service=smb"], "neither a time"),
        (["--until", "30d", "--like", "a1"], "wants --alerts"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(decisions, arguments, said):
    with pytest.raises(ConfigError, match=said):
        feedback("add", decisions, *WHO, *arguments)
    assert not decisions.exists()
    assert not audit_path(decisions).exists()


def test_roles_that_nobody_knows_cannot_be_meant(decisions, alerts):
    with pytest.raises(ConfigError, match="declare it in the plant file"):
        feedback("add", decisions, *WHO, "--like", "a1", "--alerts", alerts, "--as", "roles", "--until", "1d")


def test_a_preview_tells_what_each_would_relabel(decisions, alerts):
    feedback(
        "add",
        decisions,
        *WHO,
        "--until",
        "2026-02-01",
        "--from",
        "2025-12-01",
        "--id",
        "ours",
        "--scope",
        "host=192.0.2.1",
    )
    feedback("add", decisions, *WHO, "--until", "30d", "--id", "rest", "--from", "2026-03-01", "--scope", "service=smb")
    said = feedback("preview", decisions, alerts)
    ours, rest = (line.split() for line in said.splitlines() if line.startswith(("ours", "rest")))
    assert ours[:5] == ["ours", "2", "of", "3", "2"]
    assert rest[:5] == ["rest", "1", "of", "3", "0"], "those that the first covers are not counted twice"
    assert "\x1b]0;" not in said


def test_an_explanation_names_who_and_why(decisions, alerts):
    feedback("add", decisions, *WHO, "--until", "30d", "--id", "smb", "--from", "2025-12-31", "--scope", "service=smb")
    assert "status suppressed: scan by anna until 2026-04-01T00:00:00.000000Z: monthly" in feedback(
        "explain", decisions, alerts, "a3"
    )
    said = feedback("explain", decisions, alerts, "a1")
    assert "status open" in said
    assert "covered by smb (service smb), in its time" in said
    with pytest.raises(ConfigError, match="no alert of this id"):
        feedback("explain", decisions, alerts, "a9")
    alerts.write_text("{}\n", encoding="utf-8")
    with pytest.raises(UnreadableInput, match=r"is no alerts\.ndjson"):
        feedback("explain", decisions, alerts, "a1")


def test_a_list_tells_which_hold(decisions):
    feedback("add", decisions, *WHO, "--until", "30d", "--id", "one", "--from", "2026-03-01", "--scope", "service=smb")
    for at, state in (("2026-02-01", "to come"), ("2026-03-02", "holds"), ("2026-04-02", "over")):
        [line] = [line for line in feedback("list", decisions, "--at", at).splitlines() if line.startswith("one")]
        assert line.rstrip().endswith(state)


# --- the log ---


@pytest.fixture
def log(decisions):
    feedback("add", decisions, *WHO, "--until", "30d", "--id", "one", "--scope", "service=smb")
    feedback("verdict", decisions, "a1", "true_positive", *WHO)
    feedback("end", decisions, "one", *WHO)
    return audit_path(decisions)


def test_the_log_tells_all_and_each_line_names_the_one_before(decisions, log):
    lines = log.read_bytes().splitlines()
    told = [orjson.loads(line) for line in lines]
    assert [entry["what"] for entry in told] == ["suppress", "verdict", "end"]
    assert [entry["by"] for entry in told] == ["anna"] * 3
    assert told[1]["verdict"] == "true_positive"
    assert told[2]["file"] == hashlib.sha256(decisions.read_bytes()).hexdigest()
    assert [entry["previous"] for entry in told[1:]] == [hashlib.sha256(line).hexdigest() for line in lines[:2]]
    assert "true_positive" in feedback("log", decisions)


@pytest.mark.parametrize("harm", ["changed", "removed", "put in", "no JSON"])
def test_a_log_that_was_changed_is_not_written_to(decisions, log, harm):
    lines = log.read_bytes().splitlines()
    lines = {
        "changed": [lines[0].replace(b"anna", b"eve"), *lines[1:]],
        "removed": [lines[0], lines[2]],
        "put in": [lines[0], lines[0], *lines[1:]],
        "no JSON": [b"x", *lines[1:]],
    }[harm]
    log.write_bytes(b"\n".join(lines) + b"\n")
    before, file = log.read_bytes(), decisions.read_bytes()
    for command in (["log", decisions], ["verdict", decisions, "a2", "benign", *WHO], ["end", decisions, "one", *WHO]):
        with pytest.raises(ConfigError, match="the log was changed"):
            feedback(*command)
    assert (log.read_bytes(), decisions.read_bytes()) == (before, file)


def test_a_file_that_was_changed_by_hand_is_named(decisions, log):
    assert "was changed since" not in feedback("list", decisions)
    decisions.write_text(decisions.read_text("utf-8") + "# by hand\n", encoding="utf-8")
    assert "was changed since" in feedback("list", decisions)

"""`eastwest sinks` and `eastwest spool`, with real files and a real server on loopback."""

import json
import re
import sys

import pytest
from rich.console import Console

from detector.cli import main
from detector.service import sink_commands
from detector.sinks.cursors import Cursor
from detector.sinks.delivery import Aside
from detector.sinks.outbox import Outbox
from detector.sinks.segments import Record
from tests.sinks.conftest import alert_line
from tests.sinks.web import POISON, Reply, Splunk, serving


@pytest.fixture
def run(monkeypatch, capfd):
    """Call it with arguments: exit code, and what was printed."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["eastwest", *map(str, arguments)])
        monkeypatch.setattr(sink_commands, "out", Console(width=300))
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code or 0, capfd.readouterr().out

    return call


@pytest.fixture
def splunk(monkeypatch):
    monkeypatch.setenv("TOKEN", "hush hush")
    with serving(Splunk()) as server:
        yield server


@pytest.fixture
def settings(written, tmp_path, splunk):
    """A settings file with a file and a Splunk, and the folder of its outbox of alerts."""
    sinks = [
        {"type": "file", "path": str(tmp_path / "alerts.ndjson")},
        {"type": "splunk", "name": "siem", "url": splunk.url, "token_env": "TOKEN", "format": "native"},
    ]
    path = written({"alerts.sinks": sinks, "outbox.folder": str(tmp_path / "outbox")})
    return path, tmp_path / "outbox" / "alerts"


def cells(said):
    lines = [re.split(r"\s*[│┃]\s*", line.strip("│┃ \n")) for line in said.splitlines() if re.match("[│┃]", line)]
    return {line[0]: line[1:] for line in lines}


def names(splunk):
    return [event["event"]["alert_id"] for event in splunk.api.got]


# --- sinks test ---


def test_a_marked_alert_goes_through_each_sink(run, settings, splunk, tmp_path):
    code, said = run("sinks", "test", "-c", settings[0])
    assert code == 0
    [line] = (tmp_path / "alerts.ndjson").read_text().splitlines()
    [event] = splunk.api.got
    assert json.loads(line)["title"] == event["event"]["title"] == "TEST: eastwest sinks test"
    assert cells(said)["file"][:3] == ["file", "native", "taken"]
    assert cells(said)["siem"][:3] == ["splunk", "native", "taken"]
    run("sinks", "test", "-c", settings[0])
    assert len({event["event"]["alert_id"] for event in splunk.api.got}) == 2  # one is not taken for the other


@pytest.mark.parametrize(
    ("fault", "outcome", "answer"),
    [
        (Reply(503, b'{"text":"Server is busy","code":9}'), "not now", "Server is busy"),
        (Reply(400, b'{"text":"[red]Invalid data format","code":6}'), "refused", "[red]Invalid data format"),
        ("reset", "not now", "the connection ended"),
    ],
)
def test_what_the_other_side_answers_is_told(run, settings, splunk, tmp_path, fault, outcome, answer):
    splunk.script = [fault]
    code, said = run("sinks", "test", "-c", settings[0], "siem")
    assert code == 4
    assert cells(said)["siem"][2] == outcome
    assert answer in said
    assert not (tmp_path / "alerts.ndjson").exists()


def test_a_secret_that_is_missing_is_told(run, settings, monkeypatch):
    monkeypatch.delenv("TOKEN")
    code, said = run("sinks", "test", "-c", settings[0], "siem")
    assert code == 4
    assert "TOKEN: is not set in the environment" in said


def test_a_sink_that_is_not_set_is_told(run, settings):
    assert run("sinks", "test", "-c", settings[0], "other")[0] == 2


# --- spool ---


@pytest.fixture
def spool(settings):
    """An outbox of 20 alerts that a service has, of which the Splunk has 12 and refused 2."""
    with Outbox(settings[1], segment_bytes=2000) as outbox:
        for number in range(20):
            outbox.append("alert", alert_line(number))
        outbox.sync()
        Cursor(outbox.folder, "siem").advance(12)
        Cursor(outbox.folder, "file").advance(20)
        Cursor(outbox.folder, "old").advance(1)
        aside = Aside(outbox.folder / "refused" / "siem.ndjson")
        for number in (3, 7):
            aside.add(Record(number, "alert", alert_line(number)), "no")
        aside.close()
        with (outbox.folder / "refused" / "siem.ndjson").open("ab") as file:
            file.write(b'{"sequence":8,"kin')  # the service is about to write it
        yield outbox


def test_show_tells_what_waits_and_what_was_refused(run, settings, spool):
    code, said = run("spool", "show", "-c", settings[0])
    assert code == 0
    told = cells(said)
    assert told["file"][:3] == ["0", "20", "0"]
    assert told["siem"][:3] == ["8", "12", "2"]
    assert told["old"][:4] == ["19", "1", "0", "not in the settings"]
    assert "Records 0 to 19 are stored" in said


def test_an_outbox_that_is_empty_or_not_there(run, settings):
    assert run("spool", "show", "-c", settings[0])[0] == 2
    Outbox(settings[1]).close()
    assert "No record is stored." in run("spool", "show", "-c", settings[0])[1]


def test_what_was_refused_is_sent_again_with_its_id(run, settings, spool, splunk):
    code, said = run("spool", "replay", "siem", "-c", settings[0], "--refused")
    assert (code, names(splunk)) == (0, ["id-3", "id-7"])
    assert "siem: 2 taken, 0 refused, 0 not sent" in said
    assert run("spool", "show", "-c", settings[0])[1].count("12") >= 1  # the service's own place is where it was


def test_records_are_sent_again_by_number(run, settings, spool, splunk, tmp_path):
    assert run("spool", "replay", "siem", "-c", settings[0], "--from", 5, "--to", 8)[0] == 0
    assert names(splunk) == ["id-5", "id-6", "id-7", "id-8"]
    run("spool", "replay", "siem", "-c", settings[0], "--from", 18)
    assert names(splunk)[4:] == ["id-18", "id-19"]
    run("spool", "replay", "file", "-c", settings[0], "--from", 0, "--to", 1)
    assert (tmp_path / "alerts.ndjson").read_bytes() == alert_line(0) + b"\n" + alert_line(1) + b"\n"


def test_what_is_refused_again_or_not_sent_in_time_is_told(run, settings, splunk):
    with Outbox(settings[1]) as outbox:
        outbox.append("alert", alert_line(0, title=POISON))
        outbox.append("alert", alert_line(1))
        outbox.sync()
        code, said = run("spool", "replay", "siem", "-c", settings[0], "--from", 0)
        assert (code, names(splunk)) == (4, ["id-1"])
        assert "siem: 1 taken, 1 refused, 0 not sent" in said
        splunk.faults = lambda _: Reply(503)
        code, said = run("spool", "replay", "siem", "-c", settings[0], "--from", 1, "--seconds", 1)
        assert code == 4
        assert "siem: 0 taken, 0 refused, 1 not sent" in said


@pytest.mark.parametrize("how", [[], ["--to", 3], ["--refused", "--from", 3]])
def test_a_replay_wants_to_know_what(run, settings, spool, how):
    assert run("spool", "replay", "siem", "-c", settings[0], *how)[0] == 2

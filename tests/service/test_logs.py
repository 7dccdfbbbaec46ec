"""Logs: one line an event, nothing of an attacker's acts on who reads it, no secrets."""

import io
import json
import logging
import warnings

import pytest

from detector.service import logs

NASTY = "a\nb\x1b[31m\u202eevil\u2028\x9b\x7f\x00"


@pytest.fixture
def lines():
    """Call it with the format to get a function that gives what was written since."""
    root, kafka, ours = (logging.getLogger(name) for name in (None, "kafka", "eastwest"))
    before = root.handlers[:], root.level, kafka.level, ours.level
    stream = io.StringIO()

    def start(kind, level="info"):
        logs.configure(level, kind, stream)
        return lambda: stream.getvalue().splitlines()

    yield start
    root.handlers[:], level, kafka_level, our_level = before
    root.setLevel(level)
    kafka.setLevel(kafka_level)
    ours.setLevel(our_level)
    logging.captureWarnings(capture=False)


def test_json_has_time_level_event_and_fields(lines):
    written = lines("json")
    logs.get("loop").info("checkpoint written", offset=12, seconds=0.25, ok=True, none=None, parts=[1, "a"])
    (line,) = map(json.loads, written())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "info",
        "logger": "eastwest.loop",
        "event": "checkpoint written",
        "offset": 12,
        "seconds": 0.25,
        "ok": True,
        "none": None,
        "parts": [1, "a"],
    }


def test_text_is_for_people(lines):
    written = lines("text")
    logs.get("loop").warning("stalled", topic="flows", reason="no record for 30 s", offset=3)
    (line,) = written()
    assert line[12:] == ' WARNING loop: stalled topic=flows reason="no record for 30 s" offset=3'


@pytest.mark.parametrize("kind", ["json", "text"])
def test_what_an_attacker_wrote_stays_one_harmless_line(lines, kind):
    written = lines(kind)
    log = logs.get("loop")
    log.error("rejected %s", NASTY)
    log.error("rejected", **{"reason": NASTY, NASTY: 1}, nested={NASTY: [NASTY]})
    first, second = written()
    assert first.isprintable()
    assert second.isprintable()
    if kind == "json":
        assert json.loads(first)["event"] == f"rejected {NASTY}"
        assert json.loads(second)["reason"] == NASTY
        assert json.loads(second)["nested"] == {NASTY: [NASTY]}


def test_long_texts_are_cut_and_lone_surrogates_are_shown(lines):
    written = lines("json")
    logs.get("loop").info("x", name="a" * 5000, half="\ud800")
    (line,) = map(json.loads, written())
    assert line["name"] == "a" * logs.MOST_CHARACTERS + "... (5000 characters)"
    assert line["half"] == "\ud800"


def test_numbers_that_json_has_not_are_text(lines):
    written = lines("json")
    logs.get("loop").info("x", a=float("nan"), b=float("inf"), c={2, 1}, d=object)
    (line,) = map(json.loads, written())
    assert (line["a"], line["b"], line["c"]) == ("nan", "inf", [1, 2])


def test_a_field_cannot_take_the_place_of_time_or_event(lines):
    written = lines("json")
    logs.get("loop").info("x", time=1, event="y", logger=3)
    (line,) = map(json.loads, written())
    assert (line["event"], line["event_"], line["time_"], line["logger_"]) == ("x", "y", 1, 3)


@pytest.mark.parametrize("kind", ["json", "text"])
def test_a_traceback_stays_with_its_line(lines, kind):
    written = lines(kind)
    try:
        raise ValueError(NASTY)
    except ValueError:
        logs.get("loop").exception("failed", step="poll")
    if kind == "json":
        (line,) = map(json.loads, written())
        assert "ValueError" in line["trace"]
    else:
        assert all(line.startswith("  ") for line in written()[1:])
        assert len(written()) > 3
    assert all(line.isprintable() for line in written())


@pytest.mark.parametrize("kind", ["json", "text"])
def test_no_secret_is_written(lines, kind):
    written = lines(kind, "debug")
    log = logs.get("kafka")
    log.info("connecting", password="hunter2", sasl_plain_password="hunter2", token="hunter2", user="u")
    log.info("options", options={"sasl_plain_password": "hunter2", "inner": {"client_secret": "hunter2"}})
    logging.getLogger("kafka.net.connection").debug("Request %d: %s", 1, "SaslAuthenticateRequest(b'hunter2')")
    assert len(written()) == 2
    assert "hunter2" not in "".join(written())
    assert "***" in written()[0]


def test_levels_are_kept_and_libraries_speak_when_it_matters(lines):
    written = lines("json", "warning")
    logs.get("loop").info("quiet")
    logging.getLogger("kafka").info("quiet")
    logging.getLogger("kafka").warning("loud")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a warning", UserWarning, stacklevel=1)
    logs.get("loop").error("loud")
    assert [json.loads(line)["logger"] for line in written()] == ["kafka", "py.warnings", "eastwest.loop"]


def test_arguments_that_do_not_fit_end_nothing(lines):
    written = lines("json")
    logging.getLogger("kafka").warning("%d rows", "many")
    assert json.loads(written()[0])["event"] == "%d rows"


def test_a_library_that_repeats_itself_is_told_once_in_a_while(lines, monkeypatch):
    written = lines("json")
    now = 1e9
    for second in range(25):
        monkeypatch.setattr(logging.time, "time", lambda second=second: now + second)
        monkeypatch.setattr(logging.time, "time_ns", lambda second=second: int((now + second) * 1e9))
        for port in range(100):
            logging.getLogger("kafka.net").error("port %d: socket disconnected", port)
        logs.get("loop").error("ours")
    told = [json.loads(line) for line in written()]
    assert [line["left_out"] for line in told if "left_out" in line] == [999, 999]
    assert sum(line["logger"] == "kafka.net" for line in told) == 3
    assert sum(line["event"] == "ours" for line in told) == 25

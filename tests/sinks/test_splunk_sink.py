"""Splunk's HTTP Event Collector: what each of its answers makes of the records."""

import json
import time

import pytest

from detector.sinks.delivery import Refused, Retry
from detector.sinks.http import PAUSE_SECONDS, Client
from detector.sinks.messages import rendering
from detector.sinks.segments import Record
from detector.sinks.splunk import Patience, SplunkSink
from tests.sinks.conftest import alert_line, message
from tests.sinks.web import BROKEN, BUSY, CLIENT_SECONDS, POISON, Reply, Splunk, serving

SECRET = "hush hush"
QUICK = Patience(poll=0.01, call=0.3, most=0.6)


def sink_to(server, secret=SECRET, **how):
    return SplunkSink(Client(server.url, seconds=CLIENT_SECONDS), lambda: secret, patience=QUICK, **how)


@pytest.fixture
def server():
    with serving(Splunk()) as server:
        yield server


@pytest.fixture
def acking():
    with serving(Splunk(acknowledge=True)) as server:
        yield server


def names(server):
    return [event["event"]["alert_id"] for event in server.api.got]


def retried(sink, records):
    with pytest.raises(Retry) as raised:
        sink.send(records)
    return raised.value


def code(status, number, **more):
    return Reply(status, json.dumps({"text": "why", "code": number, **more}).encode())


def test_an_alert_is_an_event_with_its_time_and_kind(server):
    line = rendering("cim")(Record(0, "alert", alert_line(1, last_ts="2026-03-02T08:00:00.250000Z")))
    sink_to(server, index="ot", host="sensor-a").send([line])
    [event] = server.api.got
    assert event.pop("event") == json.loads(line.payload)
    assert event == {
        "host": "sensor-a",
        "source": "eastwest",
        "index": "ot",
        "sourcetype": "eastwest:alert",
        "time": "1772438400.250000",
    }


def test_requests_hold_no_more_than_splunk_cloud_takes(server):
    records = [message(number, content=b'{"alert_id":"%d","x":"%s"}' % (number, b"x" * 5000)) for number in range(500)]
    sink_to(server).send(records)
    assert names(server) == [str(number) for number in range(500)]
    assert len(server.seen) == 4
    assert max(len(request.body) for request in server.seen) < 1_000_000
    assert {request.headers["content-encoding"] for request in server.seen} == {"gzip"}


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (code(500, 8), None),
        (code(503, 9), None),
        (code(503, 18), None),
        (BUSY, 7),
        (BROKEN, None),
        ("cut", None),
        ("mute", None),
        ("half-open", None),
        ("reset", None),
        ("rubbish", PAUSE_SECONDS),
        (code(200, 17), PAUSE_SECONDS),
    ],
)
def test_what_passes_is_tried_again(server, fault, after):
    server.script = [fault]
    sink = sink_to(server)
    problem = retried(sink, [message(0)])
    assert (problem.after, problem.taken) == (after, 0)
    sink.send([message(0)])
    assert set(names(server)) == {"id-0"}
    assert len(names(server)) == (2 if fault in ("cut", "mute") else 1)  # it had it already


@pytest.mark.parametrize(
    "fault",
    [code(400, number) for number in (7, 10, 11, 14, 16, 21, 22)]
    + [code(401, 2), code(401, 3), code(403, 1), code(403, 4), Reply(404, b"not here")],
)
def test_what_only_people_can_mend_blames_no_record(server, fault):
    server.script = [fault]
    problem = retried(sink_to(server), [message(0)])
    assert problem.after == PAUSE_SECONDS
    assert "why" in problem.reason or "not here" in problem.reason


def test_a_wrong_token_is_told_and_not_shown(server):
    problem = retried(sink_to(server, secret="wr0ng"), [message(0)])
    assert "Invalid token" in problem.reason
    assert "wr0ng" not in problem.reason


@pytest.mark.parametrize("number", [5, 6, 12, 13, 15])
def test_an_event_that_it_never_takes_is_refused(server, number):
    server.script = [code(400, number)]
    with pytest.raises(Refused, match="why"):
        sink_to(server).send([message(0)])


def test_a_poison_alert_is_found_and_the_others_arrive(server):
    records = [
        message(
            number, content=b'{"alert_id":"id-%d","x":"%s"}' % (number, POISON.encode() if number in {3, 11} else b"")
        )
        for number in range(20)
    ]
    sink, refused, begin = sink_to(server), [], 0
    while begin < len(records):
        try:
            sink.send(records[begin:])
            break
        except Refused as problem:
            refused.append(begin + problem.index)
            begin += problem.index + 1
    assert refused == [3, 11]
    assert list(dict.fromkeys(names(server))) == [f"id-{number}" for number in range(20) if number not in refused]


def test_too_large_a_request_is_sent_in_smaller_ones(server):
    server.script = [Reply(413, b"large"), Reply(413, b"large")]
    sink_to(server).send([message(number) for number in range(8)])
    assert names(server) == [f"id-{number}" for number in range(8)]


# --- indexer acknowledgement ---


def test_it_returns_when_all_is_indexed(acking):
    sink = sink_to(acking, acknowledge=True)
    sink.send([message(0), message(1)])
    sink.send([message(2)])
    assert names(acking) == ["id-0", "id-1", "id-2"]
    questions = [request for request in acking.seen if "ack?" in request.path]
    assert len(questions) == 6
    assert len({request.headers["x-splunk-request-channel"] for request in acking.seen}) == 1


def test_what_is_not_indexed_yet_is_asked_for_again_and_not_sent_again(acking):
    acking.api.questions = 40  # of 0.01 s: more than a call waits
    sink = sink_to(acking, acknowledge=True)
    sink._patience = Patience(poll=0.01, call=0.05, most=30)
    problem = retried(sink, [message(0), message(1)])
    assert "not indexed yet" in problem.reason
    records = [message(0), message(1), message(2)]  # more came meanwhile
    for _ in range(100):
        try:
            sink.send(records)
            break
        except Retry as problem:
            records = records[problem.taken :]
    assert names(acking) == ["id-0", "id-1", "id-2"]
    assert [record.sequence for record in records] == [2]


def test_what_is_never_indexed_is_sent_again(acking):
    acking.api.lost = True
    sink = sink_to(acking, acknowledge=True)
    reasons, end = [], time.monotonic() + 20
    while not any("sent again" in reason for reason in reasons):
        reasons.append(retried(sink, [message(0)]).reason)
        assert time.monotonic() < end
    acking.api.lost = False
    sink.send([message(0)])
    assert names(acking) == ["id-0", "id-0"]


def test_a_token_that_does_not_acknowledge_is_told(server):
    problem = retried(sink_to(server, acknowledge=True), [message(0)])
    assert "does not acknowledge" in problem.reason
    assert problem.after == PAUSE_SECONDS

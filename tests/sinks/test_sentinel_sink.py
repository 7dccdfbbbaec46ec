"""Microsoft Sentinel's Logs Ingestion API: what each of its answers makes of the records."""

import json

import pytest

from detector.sinks.delivery import Refused, Retry
from detector.sinks.http import PAUSE_SECONDS, Client
from detector.sinks.sentinel import SCOPE, SentinelSink
from detector.sinks.tokens import Token, client_credentials
from tests.sinks.conftest import message
from tests.sinks.web import BROKEN, BUSY, CLIENT_SECONDS, POISON, Reply, Sentinel, serving

RULE = "dcr-" + "0" * 32


@pytest.fixture
def server():
    with serving(Sentinel()) as server:
        yield server


def sink_to(server, word="hush hush", now=lambda: 0.0):
    claim = client_credentials("app", lambda: word, SCOPE)
    tokens = Client(server.url + "/tenant/oauth2/v2.0/token", seconds=CLIENT_SECONDS)
    token = Token(tokens, claim, now)
    return SentinelSink(Client(server.url, seconds=CLIENT_SECONDS), token, RULE, "Custom-Alerts")


def retried(sink, records):
    with pytest.raises(Retry) as raised:
        sink.send(records)
    return raised.value


def test_alerts_are_rows_of_an_array_and_one_token_serves_until_it_is_about_to_end(server):
    time = [0.0]
    sink = sink_to(server, now=lambda: time[0])
    sink.send([message(0), message(1)])
    time[0] = 3299
    sink.send([message(2)])
    assert server.api.tokens == 1
    time[0] = 3300
    sink.send([message(3)])
    assert server.api.tokens == 2
    assert [row["alert_id"] for row in server.api.got] == ["id-0", "id-1", "id-2", "id-3"]
    sink.close()


def test_no_call_is_larger_than_a_megabyte(server):
    records = [message(number, content=b'{"n":%d,"x":"%s"}' % (number, b"x" * 9000)) for number in range(500)]
    sink_to(server).send(records)
    assert [row["n"] for row in server.api.got] == [*range(500)]
    assert max(len(request.body) for request in server.seen) <= 1 << 20
    assert len(server.seen) == 6


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (BUSY, 7),
        (Reply(503, b"", (("Retry-After", "30"),)), 30),
        (BROKEN, None),
        ("mute", None),
        ("half-open", None),
        ("reset", None),
        ("rubbish", PAUSE_SECONDS),
        (Reply(403, b"no role"), PAUSE_SECONDS),
        (Reply(404, b"no rule"), PAUSE_SECONDS),
    ],
)
def test_what_passes_or_can_be_mended_is_tried_again(server, fault, after):
    server.script = [None, fault]  # the token, then the call
    sink = sink_to(server)
    problem = retried(sink, [message(0)])
    assert (problem.after, problem.taken) == (after, 0)
    sink.send([message(0)])
    assert {row["alert_id"] for row in server.api.got} == {"id-0"}


@pytest.mark.parametrize("fault", [BUSY, BROKEN, "cut", "mute", "reset", "rubbish", Reply(200, b"{}"), Reply(400)])
def test_no_token_is_no_fault_of_a_record(server, fault):
    server.script = [fault]
    sink = sink_to(server)
    retried(sink, [message(0)])
    sink.send([message(0)])
    assert len(server.api.got) == 1


def test_a_token_that_is_no_longer_good_is_renewed(server):
    sink = sink_to(server)
    sink.send([message(0)])
    server.api.valid = False
    retried(sink, [message(1)])
    sink.send([message(1)])
    assert server.api.tokens == 2


def test_a_wrong_secret_is_told_and_not_shown(server):
    problem = retried(sink_to(server, word="wr0ng"), [message(0)])
    assert "invalid_client" in problem.reason
    assert "wr0ng" not in problem.reason
    assert problem.after == PAUSE_SECONDS


def test_a_row_that_it_never_takes_is_found(server):
    records = [
        message(number, content=b'{"n":%d,"x":"%s"}' % (number, POISON.encode() if number == 13 else b""))
        for number in range(20)
    ]
    sink = sink_to(server)
    with pytest.raises(Refused, match="InvalidPayload") as raised:
        sink.send(records)
    assert raised.value.index == 13
    sink.send(records[14:])
    assert [row["n"] for row in server.api.got] == [number for number in range(20) if number != 13]


def test_a_row_that_is_too_large_is_refused(server):
    row = json.dumps({"x": "x" * (1 << 20)}).encode()
    with pytest.raises(Refused, match="413") as raised:
        sink_to(server).send([message(0), message(1, content=row), message(2)])
    assert raised.value.index == 1

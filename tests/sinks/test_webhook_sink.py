"""Webhooks: signed, with an id for each revision, and tried again where the answer says so."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest

from detector.errors import ConfigError
from detector.sinks.delivery import Refused, Retry
from detector.sinks.http import PAUSE_SECONDS, Client
from detector.sinks.messages import rendering
from detector.sinks.segments import Record
from detector.sinks.webhook import WebhookSink, signed
from tests.sinks.conftest import alert_line, message
from tests.sinks.web import BROKEN, BUSY, CLIENT_SECONDS, POISON, Reply, Webhook, serving


@pytest.fixture
def server():
    with serving(Webhook()) as server:
        yield server


def sink_to(server, bearer=None):
    bearing = None if bearer is None else lambda: bearer
    return WebhookSink(Client(server.url + "/hooks/1", seconds=CLIENT_SECONDS), lambda: "key", bearing)


def test_the_signature_is_that_of_the_standards_example():
    """github.com/standard-webhooks/standard-webhooks, libraries/python/tests/test_webhooks.py."""
    told = signed(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}'
    )
    assert told == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_one_alert_is_one_post_with_the_same_id_each_time(server):
    records = [message(0, "a"), message(1, "b"), message(2, "a", 1)]
    sink = sink_to(server)
    sink.send(records)
    sink.send(records[2:])
    assert server.api.names == ["a.0", "b.0", "a.1", "a.1"]
    assert [alert["revision"] for alert in server.api.got] == [0, 0, 1, 1]
    assert {request.headers["content-type"] for request in server.seen} == {"application/json"}


def test_text_is_told_as_text(server):
    server.script = [Reply(200)]
    sink_to(server).send([rendering("cef")(Record(0, "alert", alert_line(1)))])
    assert server.seen[0].headers["content-type"] == "text/plain; charset=utf-8"


def test_a_key_in_base64_is_the_same_key():
    text = "whsec_" + base64.b64encode(b"key").decode()
    assert signed(text, "a", "1", b"x") == signed("key", "a", "1", b"x")
    with pytest.raises(ConfigError, match="no base64") as raised:
        signed("whsec_?s3cr3t", "a", "1", b"x")
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (BUSY, 7),
        (BROKEN, None),
        (Reply(408), None),
        (Reply(425), None),
        ("cut", None),
        ("mute", None),
        ("half-open", None),
        ("reset", None),
        (Reply(301), PAUSE_SECONDS),
        (Reply(401), PAUSE_SECONDS),
        (Reply(404), PAUSE_SECONDS),
    ],
)
def test_what_passes_is_tried_again_from_where_it_stopped(server, fault, after):
    server.script = [None, None, fault]
    sink = sink_to(server)
    with pytest.raises(Retry) as raised:
        sink.send([message(number) for number in range(4)])
    assert (raised.value.after, raised.value.taken) == (after, 2)
    sink.send([message(number) for number in range(2, 4)])
    assert list(dict.fromkeys(server.api.names)) == [f"id-{number}.0" for number in range(4)]


@pytest.mark.parametrize("fault", [Reply(400), Reply(409), Reply(410), Reply(413), Reply(422)])
def test_an_alert_that_it_never_takes_is_refused(server, fault):
    server.script = [None, fault]
    with pytest.raises(Refused) as raised:
        sink_to(server).send([message(0), message(1), message(2)])
    assert raised.value.index == 1
    assert server.api.names == ["id-0.0"]


def test_a_poison_alert_is_refused(server):
    with pytest.raises(Refused):
        sink_to(server).send([message(0, content=POISON.encode())])


def test_a_token_is_shown_to_the_other_side_alone():
    with serving(Webhook(bearer="right")) as server:
        sink_to(server, bearer="right").send([message(0)])
        with pytest.raises(Retry) as raised:
            sink_to(server, bearer="wr0ng").send([message(0)])
    assert "who are you, Bearer (secret)" in raised.value.reason
    assert "/hooks" not in raised.value.reason


def test_several_at_once_do_not_mix(server):
    with ThreadPoolExecutor(4) as pool:
        sinks = [sink_to(server) for _ in range(4)]
        list(pool.map(lambda sink: sink.send([message(number) for number in range(20)]), sinks))
    assert sorted(server.api.names) == sorted([f"id-{number}.0" for number in range(20)] * 4)

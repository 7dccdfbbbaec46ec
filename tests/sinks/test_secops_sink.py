"""Google Security Operations: what each of its answers makes of the records."""

import base64
import json

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from detector.errors import ConfigError
from detector.sinks.delivery import Refused, Retry
from detector.sinks.http import PAUSE_SECONDS, Client
from detector.sinks.messages import rendering
from detector.sinks.secops import SecOpsSink, assertion
from detector.sinks.segments import Record
from detector.sinks.tokens import Token
from tests.sinks.conftest import alert_line
from tests.sinks.web import BROKEN, BUSY, CLIENT_SECONDS, POISON, Reply, SecOps, serving

PARENT = "/v1/projects/p/locations/eu/instances/i"


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


def written(key, **more):
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps({"client_email": "eastwest@p", "private_key_id": "1", "private_key": pem, **more})


def part(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@pytest.fixture
def server(key):
    def verify(token):
        head, claims, signature = token.split(".")
        key.public_key().verify(part(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
        assert json.loads(part(head)) == {"alg": "RS256", "typ": "JWT", "kid": "1"}
        return json.loads(part(claims))

    with serving(SecOps(verify)) as server:
        yield server


def sink_to(server, key):
    url = server.url + "/token"
    token = Token(Client(url, seconds=CLIENT_SECONDS), assertion(lambda: written(key), url))
    return SecOpsSink(Client(server.url + PARENT, seconds=CLIENT_SECONDS), token)


def events(*numbers, bad=()):
    render = rendering("udm")
    return [
        render(Record(number, "alert", alert_line(number, title=POISON if number in bad else "a title")))
        for number in numbers
    ]


def names(server):
    return [event["metadata"]["product_log_id"] for event in server.api.got]


def test_alerts_are_events_and_one_token_serves_all(server, key):
    sink = sink_to(server, key)
    sink.send(events(0, 1))
    sink.send(events(2))
    sink.close()
    assert names(server) == ["id-0", "id-1", "id-2"]
    assert server.api.tokens == 1


@pytest.mark.parametrize("bad", [[0], [7], [19], [3, 4, 18]])
def test_one_bad_event_is_found_in_a_request_that_is_refused_as_a_whole(server, key, bad):
    records, sink, refused, begin = events(*range(20), bad=bad), sink_to(server, key), [], 0
    while begin < len(records):
        try:
            sink.send(records[begin:])
            break
        except Refused as problem:
            refused.append(begin + problem.index)
            begin += problem.index + 1
    assert refused == bad
    assert names(server) == [f"id-{number}" for number in range(20) if number not in bad]


def test_no_request_is_larger_than_a_megabyte(server, key):
    render = rendering("udm")
    lines = [alert_line(number, evidence=tuple(f"conn.log:{each:060}" for each in range(60))) for number in range(300)]
    sink_to(server, key).send([render(Record(number, "alert", line)) for number, line in enumerate(lines)])
    assert names(server) == [f"id-{number}" for number in range(300)]
    assert max(len(request.body) for request in server.seen) <= 1_000_000
    assert len(server.seen) > 2


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (BUSY, 7),
        (BROKEN, None),
        ("cut", None),
        ("mute", None),
        ("half-open", None),
        ("reset", None),
        ("rubbish", PAUSE_SECONDS),
        (Reply(401), PAUSE_SECONDS),
        (Reply(403), PAUSE_SECONDS),
        (Reply(404), PAUSE_SECONDS),
    ],
)
def test_what_passes_or_can_be_mended_is_tried_again(server, key, fault, after):
    server.script = [None, fault]  # the token, then the call
    sink = sink_to(server, key)
    with pytest.raises(Retry) as raised:
        sink.send(events(0))
    assert raised.value.after == after
    sink.send(events(0))
    assert set(names(server)) == {"id-0"}


def test_a_file_that_is_no_key_of_a_service_account_is_told_and_not_shown():
    curve = written(ec.generate_private_key(ec.SECP256R1()))
    for text in ("s3cr3t", '{"private_key":"s3cr3t"}', '{"client_email":"a","private_key":"s3cr3t"}', curve):
        with pytest.raises(ConfigError) as raised:
            assertion(lambda text=text: text, "https://x")()
        assert "s3cr3t" not in str(raised.value)

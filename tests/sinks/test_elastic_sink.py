"""Elasticsearch's bulk API: what each of its answers makes of the records."""

import json

import pytest

from detector.sinks.delivery import Refused, Retry
from detector.sinks.elastic import ElasticSink
from detector.sinks.http import PAUSE_SECONDS, Client
from detector.sinks.tokens import authorization
from tests.sinks.conftest import message
from tests.sinks.web import BROKEN, BUSY, CLIENT_SECONDS, POISON, Elastic, Reply, serving

INDEX = "logs-eastwest.alerts-default"


@pytest.fixture
def server():
    with serving(Elastic()) as server:
        yield server


@pytest.fixture
def plain():
    with serving(Elastic(stream=False)) as server:
        yield server


def sink_to(server, who=None, updates="append"):
    return ElasticSink(Client(server.url, seconds=CLIENT_SECONDS), who, INDEX, updates)


def retried(sink, records):
    with pytest.raises(Retry) as raised:
        sink.send(records)
    return raised.value


def poisoned(count, *bad):
    fill = {number: POISON.encode() for number in bad}
    return [message(number, content=b'{"n":%d,"x":"%s"}' % (number, fill.get(number, b""))) for number in range(count)]


def item(status, kind="x", reason="y"):
    body = {"errors": True, "items": [{"create": {"status": status, "error": {"type": kind, "reason": reason}}}]}
    return Reply(200, json.dumps(body).encode())


def test_each_revision_is_a_document_of_a_data_stream(server):
    records = [message(0, "a"), message(1, "b"), message(2, "a", 1)]
    sink = sink_to(server)
    sink.send(records)
    sink.send(records)  # it came already: 409
    assert server.api.documents == {
        "a.0": {"alert_id": "a", "revision": 0},
        "b.0": {"alert_id": "b", "revision": 0},
        "a.1": {"alert_id": "a", "revision": 1},
    }
    assert server.api.repeated == 3
    assert b'{"create":{"_index":"logs-eastwest.alerts-default","_id":"a.0"}}\n' in server.seen[0].body


def test_an_index_has_the_last_revision_whatever_the_order(plain):
    sink = sink_to(plain, updates="replace")
    sink.send([message(0, "a"), message(1, "b"), message(2, "a", 1)])
    sink.send([message(0, "a"), message(1, "b"), message(2, "a", 1)])  # as after a crash: 409 for all
    assert {name: document["revision"] for name, document in plain.api.documents.items()} == {"a": 1, "b": 0}
    assert plain.api.repeated == 3


def test_a_data_stream_that_is_to_replace_is_a_setting_to_mend_and_no_bad_record(server):
    problem = retried(sink_to(server, updates="replace"), [message(0)])
    assert "op_type of create" in problem.reason
    assert (problem.after, problem.taken) == (PAUSE_SECONDS, 0)


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (BUSY, 7),
        (BROKEN, None),
        (Reply(503), None),
        ("cut", None),
        ("mute", None),
        ("half-open", None),
        ("reset", None),
        ("rubbish", PAUSE_SECONDS),
        (Reply(200, b'{"items":[]}'), PAUSE_SECONDS),
        (Reply(200, b"[]"), PAUSE_SECONDS),
        (Reply(401, b"who"), PAUSE_SECONDS),
        (Reply(403, b"no"), PAUSE_SECONDS),
        (item(404, "index_not_found_exception"), PAUSE_SECONDS),
        (item(403, "security_exception"), PAUSE_SECONDS),
        (item(429, "es_rejected_execution_exception"), None),
        (item(503, "unavailable_shards_exception"), None),
    ],
)
def test_what_passes_or_can_be_mended_is_tried_again_and_comes_once(server, fault, after):
    server.script = [fault]
    sink = sink_to(server)
    problem = retried(sink, [message(0)])
    assert (problem.after, problem.taken) == (after, 0)
    sink.send([message(0)])
    assert len(server.api.got) == 1


def test_only_the_items_that_were_not_taken_are_sent_again(server):
    records = [message(number) for number in range(10)]
    server.api.busy = [3, 7]
    sink = sink_to(server)
    assert retried(sink, records).taken == 3
    sink.send(records[3:])
    assert len(server.api.got) == 10
    assert server.api.repeated == 0
    assert server.seen[1].body.count(b"create") == 2


def test_documents_that_cannot_be_mapped_are_refused_and_the_others_arrive_once(server):
    records = poisoned(20, 0, 5, 19)
    sink, refused, reasons, begin = sink_to(server), [], set(), 0
    while begin < len(records):
        try:
            sink.send(records[begin:])
            break
        except Refused as problem:
            reasons.add(problem.reason.partition(": ")[2])
            refused.append(begin + problem.index)
            begin += problem.index + 1
    assert refused == [0, 5, 19]
    assert reasons == {f"{INDEX}: 400 document_parsing_exception: failed to parse"}
    assert [document["n"] for document in server.api.got] == [number for number in range(20) if number not in refused]
    assert server.api.repeated == 0


def test_a_busy_item_before_a_bad_one_comes_first(server):
    server.api.busy = [1]
    sink, records = sink_to(server), poisoned(4, 2)
    assert retried(sink, records).taken == 1
    with pytest.raises(Refused) as raised:
        sink.send(records[1:])
    assert raised.value.index == 1
    sink.send(records[3:])
    assert sorted(document["n"] for document in server.api.got) == [0, 1, 3]
    assert server.api.repeated == 0


def test_too_large_a_request_is_sent_in_smaller_ones_and_too_large_a_document_refused(server):
    server.script = [Reply(413, b"large")]
    sink_to(server).send([message(number) for number in range(8)])
    assert len(server.api.got) == 8
    server.script = [Reply(413, b"large")]
    with pytest.raises(Refused, match="413"):
        sink_to(server).send([message(9)])


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (authorization(lambda: "a2V5", None, None), "ApiKey a2V5"),
        (authorization(None, "name", lambda: "word"), "Basic bmFtZTp3b3Jk"),
    ],
)
def test_it_says_who_we_are_and_hides_it(server, who, said):
    server.script = [Reply(401, b"not you, " + said.encode())]
    problem = retried(sink_to(server, who), [message(0)])
    assert server.seen[0].headers["authorization"] == said
    assert said.split()[1] not in problem.reason

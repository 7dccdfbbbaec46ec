"""A real OpenSearch: alerts in ECS come once, whatever is repeated."""

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from detector.renderings.kinds import RENDERINGS
from detector.sinks.delivery import Delivery, Refused, Retry
from detector.sinks.elastic import ElasticSink
from detector.sinks.http import PAUSE_SECONDS, Client
from detector.sinks.messages import rendering
from detector.sinks.outbox import Outbox
from tests.kafka.broker import Unavailable
from tests.kafka.fixtures import leave
from tests.opensearch.node import running
from tests.sinks.conftest import alert_line, message, told_alert

pytestmark = pytest.mark.opensearch
STREAM = "logs-eastwest.alerts-default"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    try:
        with running(tmp_path_factory.mktemp("opensearch") / "home") as url:
            yield url
    except Unavailable as problem:
        leave(str(problem))


@pytest.fixture
def ask(node):
    """Call it with method, path and JSON: the answer, which must be a good one."""
    connection = HTTPConnection(urlsplit(node).netloc, timeout=60)

    def call(method, path, body=None):
        connection.request(method, path, body and json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status < 300, told
        return told

    yield call
    connection.close()


def sink_to(node, index, updates="append"):
    return ElasticSink(Client(node), None, index, updates)


def documents(ask, index):
    ask("POST", f"/{index}/_refresh")
    hits = ask("POST", f"/{index}/_search", {"size": 1000})["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def test_alerts_are_documents_of_a_data_stream_once_and_unchanged(node, ask, tmp_path):
    ask("PUT", "/_index_template/eastwest", {"index_patterns": [STREAM], "data_stream": {}, "priority": 500})
    with Outbox(tmp_path / "outbox") as outbox:
        for number in range(300):
            outbox.append("alert", alert_line(number, title=f"\u202e{number} é"))
        outbox.sync()
        for name in ("first", "again"):  # as after a crash that lost the cursor
            delivery = Delivery(
                name, sink_to(node, STREAM), outbox, lambda *problem: print(problem), render=rendering("ecs")
            )
            delivery.start()
            assert delivery.stop(60)
            assert (delivery.progress.delivered, delivery.progress.refused) == (300, 0)
    found = documents(ask, STREAM)
    told = {number: RENDERINGS["ecs"](told_alert(number, title=f"\u202e{number} é")) for number in range(300)}
    assert found == {f"id-{number}.0": json.loads(line) for number, line in told.items()}


def test_an_index_has_the_last_revision_of_each_alert(node, ask):
    ask("PUT", "/alerts")
    records = [message(number, f"id-{number % 10}", number // 10) for number in range(30)]
    sink = sink_to(node, "alerts", "replace")
    sink.send(records)
    sink.send(records[:15])  # older ones change nothing
    assert documents(ask, "alerts") == {
        f"id-{number}": {"alert_id": f"id-{number}", "revision": 2} for number in range(10)
    }


def test_a_document_that_cannot_be_mapped_is_refused_alone(node, ask):
    ask("PUT", "/strict", {"mappings": {"properties": {"n": {"type": "integer"}}}})
    records = [message(number, content=b'{"n":%s}' % (b'"x"' if number == 3 else b"1")) for number in range(6)]
    sink = sink_to(node, "strict")
    with pytest.raises(Refused, match="mapper_parsing_exception") as raised:
        sink.send(records)
    assert raised.value.index == 3
    sink.send(records[4:])
    assert sorted(documents(ask, "strict")) == ["id-0.0", "id-1.0", "id-2.0", "id-4.0", "id-5.0"]


def test_an_index_that_is_not_there_and_a_stream_that_is_to_replace_can_be_mended(node, ask):
    with pytest.raises(Retry, match="index_not_found_exception") as raised:
        sink_to(node, "missing").send([message(0)])
    assert raised.value.after == PAUSE_SECONDS
    ask("PUT", "/_index_template/other", {"index_patterns": ["logs-other"], "data_stream": {}, "priority": 500})
    ask("PUT", "/_data_stream/logs-other")
    line = message(0, content=b'{"@timestamp":"2026-03-02T07:00:00Z"}')
    with pytest.raises(Retry, match="op_type of create") as raised:
        sink_to(node, "logs-other", "replace").send([line])
    assert raised.value.after == PAUSE_SECONDS

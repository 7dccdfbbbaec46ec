"""Records in a real Apache Kafka: once, in order, with their key, whatever the broker does meanwhile."""

import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, TopicAuthorizationFailedError

import detector
from detector.alerts.model import Told, told_json
from detector.sinks import kafka as module
from detector.sinks.delivery import Delivery, Refused, Retry
from detector.sinks.kafka import KafkaSink, key_of
from detector.sinks.kinds import sink_of
from detector.sinks.messages import Message, rendering
from tests.kafka.broker import free_ports
from tests.kafka.fixtures import abandoned_sockets
from tests.sinks.conftest import alert_line, message, payload

real = pytest.mark.kafka
broker_away = [
    pytest.mark.usefixtures("without_sockets"),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]


def marked(marks):
    """All of the marks at once."""
    return lambda test: [mark(test) for mark in marks][-1]


@pytest.fixture
def without_sockets():
    with abandoned_sockets():
        yield


def alerts(first: int, end: int) -> list[Message]:
    return [message(number) for number in range(first, end)]


def arrived(bootstrap, topic, partitions=1):
    """All that the topic has, a partition after the other."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False)
    places = [TopicPartition(topic, number) for number in range(partitions)]
    try:
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        found = {place: [] for place in places}
        deadline = time.monotonic() + 20
        while any(consumer.position(place) < ends[place] for place in places):
            assert time.monotonic() < deadline
            for place, records in consumer.poll(timeout_ms=200).items():
                found[place] += records
    finally:
        consumer.close()
    return [record for place in places for record in found[place]]


def connection(bootstrap):
    return {"bootstrap_servers": bootstrap, "client_id": "eastwest-test"}


@pytest.fixture
def sink(kafka, request):
    made = []

    def make(topic, **how):
        made.append(KafkaSink(topic, connection(kafka.bootstrap), **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


# --- without a broker ---


def test_the_key_is_the_id_of_what_is_told():
    assert key_of(message(0, "a")) == b"a"
    assert key_of(Message(0, "dead_letter", b'{"reason":"x"}')) is None


def test_kafka_is_loaded_by_its_sink_alone():
    program = (
        "import sys; from detector.sinks import kinds, delivery, file, console, kafka; print('kafka' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
    assert done.stdout == b"False\n"


@marked(broker_away)
def test_brokers_that_are_away_are_tried_again():
    sink = KafkaSink("alerts", connection([f"127.0.0.1:{free_ports(1)[0]}"]), seconds=0.5)
    gc.collect()  # what other tests left open is not ours
    begun, files, threads = time.monotonic(), len([*Path("/proc/self/fd").iterdir()]), threading.active_count()
    for _ in range(3):
        with pytest.raises(Retry, match="Kafka: "):
            sink.send(alerts(0, 3))
    assert time.monotonic() - begun < 10
    gc.collect()  # kafka-python closes no socket whose connection was refused
    assert len([*Path("/proc/self/fd").iterdir()]) == files
    assert threading.active_count() == threads
    sink.close()


class Future:
    """What becomes of a record: nothing yet (None), it is there (True), or an error."""

    def __init__(self, end):
        self.end = end

    @property
    def is_done(self):
        return self.end is not None

    def succeeded(self):
        return self.end is True

    def get(self, timeout):
        if self.end is not True:
            raise self.end or KafkaTimeoutError("nothing yet")


class Producer:
    """A producer of which the test says what becomes of each record, by number."""

    def __init__(self, ends):
        self.ends, self.sent, self.ended = ends, [], False
        self._sender = self

    def send(self, topic, value, key, headers):
        number = json.loads(value)["n"]
        self.sent.append(number)
        return self.ends[number]

    def force_close(self):
        self.ended = True

    def close(self, timeout):
        assert self.ended


def same(*names):
    """Records whose alerts have these ids."""
    return [message(number, name.decode(), content=b'{"n":%d}' % number) for number, name in enumerate(names)]


@pytest.fixture
def scripted(monkeypatch):
    """Call it with what each producer does, one after the other."""

    def script(*producers):
        made = iter(producers)
        monkeypatch.setattr(module, "_producer", lambda *_: next(made))
        return KafkaSink("alerts", {}, seconds=0)

    return script


def test_what_the_producer_has_is_waited_for_and_not_sent_again(scripted):
    producer = Producer([Future(True), Future(None), Future(True)])
    sink = scripted(producer)
    with pytest.raises(Retry, match="gave no answer") as raised:
        sink.send(same(b"a", b"b", b"c"))
    assert raised.value.taken == 1
    producer.ends[1].end = True
    sink.send(same(b"a", b"b", b"c")[1:])
    assert producer.sent == [0, 1, 2]
    assert not producer.ended


def test_what_arrived_is_not_sent_again_unless_something_older_of_its_key_is(scripted):
    lost = KafkaError("fenced")
    first = Producer([Future(True), Future(lost), Future(True), Future(True), Future(lost)])
    second = Producer([Future(True)] * 5)
    sink = scripted(first, second)
    records = same(b"a", b"b", b"c", b"b", b"c")
    with pytest.raises(Retry, match="fenced") as raised:
        sink.send(records)
    assert (raised.value.taken, first.ended) == (1, True)
    sink.send(records[1:])
    assert second.sent == [1, 3, 4]  # 2 is there; 3 is too, and would be before 1


def test_a_record_is_refused_only_when_it_was_alone(scripted):
    large = MessageSizeTooLargeError()
    sink = scripted(
        Producer([Future(large)] * 4),  # as kafka-python does, whichever it was
        Producer([Future(True), Future(True), Future(large)]),
        Producer([None, None, None, Future(True)]),
    )
    records = same(b"a", b"b", b"c", b"d")
    with pytest.raises(Refused, match="larger than topic alerts takes") as raised:
        sink.send(records)
    assert raised.value.index == 2
    sink.send(records[3:])


# --- with one ---


@real
def test_records_arrive_once_in_order_with_their_key(kafka, outbox):
    topic = kafka.topic()
    for number in range(300):
        outbox.append("alert", alert_line(number))
    outbox.append("incident", told_json(Told("incident", "chain", 3, None, ts="2026-03-02T07:00:00.000000Z")))
    outbox.sync()
    problems = []
    sink = sink_of("kafka", {"topic": topic}, connection(kafka.bootstrap))
    native = rendering("native")
    delivery = Delivery("kafka", sink, outbox, lambda *problem: problems.append(problem), batch=64, render=native)
    delivery.start()
    assert delivery.stop(30)
    letters = sink_of("kafka", {"topic": topic}, connection(kafka.bootstrap))
    letters.send([Message(0, "dead_letter", b'{"reason":"not JSON"}')])
    letters.close()
    found = arrived(kafka.bootstrap, topic)
    assert [record.value for record in found[:301]] == [record.payload for record in outbox.read(0, 1000)]
    assert [record.key for record in found[:300]] == [b"id-%d" % number for number in range(300)]
    assert [record.key for record in found[300:]] == [b"chain", None]
    headers = [dict(record.headers) for record in found]
    assert [each["kind"] for each in headers[299:]] == [b"alert", b"incident", b"dead_letter"]
    assert {each["content-type"] for each in headers} == {b"application/json"}
    assert {each["schema-version"] for each in headers} == {f"eastwest/{detector.__version__}".encode()}
    assert problems == []


@real
def test_revisions_of_an_alert_stay_in_order_over_partitions(kafka, sink):
    topic = kafka.topic(partitions=3)
    records = [message(number, f"id-{number % 20}", number // 20) for number in range(200)]
    target = sink(topic)
    target.send(records[:110])
    target.send(records[110:])
    found = arrived(kafka.bootstrap, topic, 3)
    assert {record.partition for record in found} == {0, 1, 2}
    assert sorted(record.value for record in found) == sorted(record.payload for record in records)
    for name in range(20):
        of = [json.loads(record.value)["revision"] for record in found if record.key == b"id-%d" % name]
        assert of == [*range(10)]


@real
@pytest.mark.parametrize("partitions", [1, 3])
def test_what_is_too_large_for_the_topic_is_refused_alone(kafka, sink, partitions):
    topic = kafka.topic(partitions, max_message_bytes=2000)
    records = alerts(0, 40)
    for number in (0, 17, 39):
        records[number] = message(number, content=b"x" * 5000)
    target, refused, begin = sink(topic), [], 0
    while begin < len(records):
        try:
            target.send(records[begin:])
            break
        except Refused as problem:
            refused.append(begin + problem.index)
            begin += problem.index + 1
    assert refused == [0, 17, 39]
    values = [record.value for record in arrived(kafka.bootstrap, topic, partitions)]
    expected = [record.payload for record in records if record.sequence not in refused]
    if partitions == 1:
        assert values == expected
    else:  # what was under way in another partition may come again
        assert set(values) == set(expected)


@real
def test_a_topic_that_is_missing_is_tried_again_and_not_made(kafka, sink):
    topic = kafka.topic() + "-missing"
    target = sink(topic, seconds=1.0)
    with pytest.raises(Retry, match="Kafka: "):
        target.send(alerts(0, 1))
    with kafka.admin() as admin:
        assert topic not in admin.list_topics()
        admin.create_topics({topic: {"num_partitions": 1}}, wait_for_metadata=True)
    target.send(alerts(0, 3))
    assert [record.value for record in arrived(kafka.bootstrap, topic)] == [payload(number) for number in range(3)]


@real
def test_a_producer_that_failed_for_good_is_replaced(kafka, sink, monkeypatch):
    topic = kafka.topic()
    target = sink(topic, seconds=5.0)
    target.send(alerts(0, 5))
    threads = threading.active_count()
    real_send = target._producer.send

    def forbidden(*what):
        if json.loads(what[1])["alert_id"] == "id-7":
            raise TopicAuthorizationFailedError(topic)
        return real_send(*what)

    monkeypatch.setattr(target._producer, "send", forbidden)
    with pytest.raises(Retry, match="TopicAuthorizationFailed") as raised:
        target.send(alerts(5, 10))
    assert raised.value.taken == 0  # none is known to be there
    target.send(alerts(5, 10))
    assert threading.active_count() == threads
    values = [record.value for record in arrived(kafka.bootstrap, topic)]
    assert list(dict.fromkeys(values)) == [payload(number) for number in range(10)]


@pytest.fixture(scope="module")
def cluster(kafka_cluster):
    return kafka_cluster(1)


@pytest.fixture
def topic(cluster, request):
    name = request.node.name
    admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
    try:
        admin.create_topics({name: {"num_partitions": 1}}, wait_for_metadata=True)
    finally:
        admin.close()
    return name


@real
@marked(broker_away)
def test_a_broker_that_restarts_loses_and_repeats_nothing(cluster, topic, outbox, fill):
    problems = []
    delivery = Delivery(
        "kafka",
        KafkaSink(topic, connection(cluster.bootstrap), seconds=0.5),
        outbox,
        lambda *problem: problems.append(problem),
        batch=7,
        spread=lambda: 0.01,
    )
    fill(50)
    delivery.start()
    wait_until(lambda: delivery.progress.delivered >= 14)
    cluster.nodes[0].kill()
    fill(50)
    delivery.wake()
    wait_until(lambda: delivery.progress.retries >= 2)
    assert delivery.progress.waiting > 0
    cluster.nodes[0].restart()
    assert delivery.stop(60)
    found = arrived(cluster.bootstrap, topic)
    assert [record.value for record in found] == [payload(number) for number in range(100)]
    assert {"gave no answer" in reason for _, reason in problems} == {True}


@real
@pytest.mark.faults
@pytest.mark.timeout(1800)
@marked(broker_away)
def test_many_arrive_through_a_broker_that_is_killed_again_and_again(cluster, topic, outbox, fill):
    count = 100_000
    fill(count)
    delivery = Delivery(
        "kafka", KafkaSink(topic, connection(cluster.bootstrap), seconds=2.0), outbox, lambda *_: None,
        spread=lambda: 0.01,
    )  # fmt: skip
    delivery.start()
    for share in range(1, 5):
        wait_until(lambda share=share: delivery.progress.delivered >= share * count // 5)
        cluster.nodes[0].kill()
        wait_until(lambda seen=delivery.progress.retries: delivery.progress.retries > seen)
        cluster.nodes[0].restart()
    assert delivery.stop(300)
    found = [record.value for record in arrived(cluster.bootstrap, topic)]
    first = list(dict.fromkeys(found))
    print(f"| kafka | broker killed 4 times | {count} | {len(first)} | {len(found) - len(first)} |")
    assert first == [payload(number) for number in range(count)]


@real
@marked(broker_away)
def test_closing_while_brokers_are_away_leaves_no_thread(cluster, topic):
    threads = set(threading.enumerate())
    sink = KafkaSink(topic, connection(cluster.bootstrap), seconds=1.0)
    sink.send(alerts(0, 3))
    cluster.nodes[0].kill()
    with pytest.raises(Retry, match="gave no answer"):
        sink.send(alerts(3, 5))
    sink.close()
    assert not [each for each in threading.enumerate() if each not in threads]


def wait_until(true, seconds=40.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)

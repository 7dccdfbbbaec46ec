"""`KafkaSource` beside kafka-python's own consumer, on a real Kafka."""

import random
import time
from collections import defaultdict

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import LogTruncationError
from kafka.structs import OffsetAndMetadata

from detector.errors import UnreadableBatch, UnreadableInput
from detector.sources.kafka import KafkaSettings, KafkaSource, PartitionStalled
from detector.sources.kafka_events import (
    Gap,
    NewPartition,
    NotAppendTime,
    OutOfOrder,
    Stalled,
    Tombstones,
    Truncated,
    Unreadable,
)
from detector.sources.kafka_merge import TICK_MS, Partition
from detector.sources.record_batches import read_records
from tests.kafka.fixtures import broker_for

pytestmark = pytest.mark.kafka

SECONDS = 20.0
LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kafka-python does
LINE = b'{"ts":1760000000.0,"id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","id.resp_p":445,"n":%d}'


@pytest.fixture
def source(kafka):
    """Call it with topics to get a source that is closed in the end."""
    made = []

    def make(*topics, positions=None, clocks=None, bootstrap=None, **how):
        servers = tuple(bootstrap or kafka.bootstrap)
        made.append(KafkaSource(KafkaSettings(bootstrap_servers=servers, topics=topics, **how)))
        made[-1].begin(positions, clocks)
        return made[-1]

    yield make
    while made:
        made.pop().close()


def drained(source, count, seconds=SECONDS):
    """[(partition, offset, value, time)] of the next ``count`` records, in order."""
    rows, end = [], time.monotonic() + seconds
    while len(rows) < count and time.monotonic() < end:
        for arrival in source.poll(1.0):
            rows += rows_of(arrival)
    assert len(rows) == count
    return rows


def rows_of(arrival):
    records = arrival.records
    columns = (records.offsets, records.starts, records.lengths, arrival.times)
    return [
        (arrival.partition, offset, None if length < 0 else records.buffer[start : start + length], time_us)
        for offset, start, length, time_us in zip(*(column.tolist() for column in columns), strict=True)
    ]


def reference(bootstrap, topic, partitions, count, **how):
    """The same rows by kafka-python's own iteration, sorted by the definition of the order."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=10_000, metrics_enabled=False, **how)
    parts = [TopicPartition(topic, number) for number in range(partitions)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    high, rows = defaultdict(int), []
    for record in consumer:
        at = Partition(record.topic, record.partition)
        high[at] = max(high[at], record.timestamp)
        rows.append((high[at] // TICK_MS, at, record.offset, record.value, high[at] * 1000))
        if len(rows) == count:
            break
    consumer.close()
    assert len(rows) == count
    return [(at, offset, value, time_us) for _, at, offset, value, time_us in sorted(rows)]


def send(kafka, topic, numbers, partitions=1, **how):
    """A message each, at random partitions."""
    chance = random.Random(1)
    with kafka.producer(**how) as producer:
        for number in numbers:
            producer.send(topic, LINE % number, partition=chance.randrange(partitions))


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd", "snappy"])
def test_records_are_those_of_kafka_python_in_order(kafka, source, compression):
    topic = kafka.topic(3)
    for start in range(0, 1500, 500):
        send(kafka, topic, range(start, start + 500), 3, compression_type=compression)
        time.sleep(0.15)
    ours = source(topic)
    assert drained(ours, 1500) == reference(kafka.bootstrap, topic, 3, 1500)
    assert sum(ours.positions().values()) == 1500
    assert ours.events() == []
    assert {lag.rows for lag in ours.lag().values()} == {0}


def test_while_it_is_written_the_order_is_that_of_reading_it_later(kafka, source):
    topic = kafka.topic(3)
    ours, rows = source(topic), []
    with kafka.producer(linger_ms=0) as producer:
        for number in range(600):
            producer.send(topic, LINE % number, partition=number * 7 % 3)
            if number % 20 == 0:
                producer.flush()
                rows += [row for arrival in ours.poll(0.02) for row in rows_of(arrival)]
    rows += drained(ours, 600 - len(rows))
    assert not any(isinstance(event, OutOfOrder) for event in ours.events())
    assert rows == reference(kafka.bootstrap, topic, 3, 600)


def test_a_record_waits_for_empty_partitions_less_than_a_second(kafka, source):
    topic = kafka.topic(4)
    ours = source(topic)
    ours.poll(0.5)
    waits = []
    with kafka.producer() as producer:
        for number in range(5):
            producer.send(topic, LINE % number, partition=number % 4).get(10)
            start = time.monotonic()
            drained(ours, 1)
            waits.append(time.monotonic() - start)
    assert max(waits) < 0.9


def test_it_goes_on_where_positions_say(kafka, source):
    topic = kafka.topic(3)
    for start in range(0, 900, 300):
        send(kafka, topic, range(start, start + 300), 3, batch_size=1000)
        time.sleep(0.15)
    whole = reference(kafka.bootstrap, topic, 3, 900)
    first = source(topic, partition_bytes=5_000)
    rows = []
    while len(rows) < 300:
        rows += [row for arrival in first.poll(1.0) for row in rows_of(arrival)]
    assert len(rows) < 900
    second = source(topic, positions=first.positions(), clocks=first.clocks())
    assert rows + drained(second, 900 - len(rows)) == whole
    assert second.poll(0.3) == []


def test_transactions_that_were_taken_back_are_left_out(kafka, source):
    topic = kafka.topic(2)
    with kafka.producer(transactional_id=f"{topic}-t") as producer:
        producer.init_transactions()
        for turn in range(6):
            producer.begin_transaction()
            for number in range(50):
                producer.send(topic, LINE % (100 * turn + number), partition=number % 2)
            producer.flush()
            (producer.commit_transaction if turn % 2 else producer.abort_transaction)()
    ours = source(topic)
    rows = drained(ours, 150)
    assert rows == reference(kafka.bootstrap, topic, 2, 150, isolation_level="read_committed")
    assert {row[2] for row in rows} == {LINE % (100 * turn + n) for turn in (1, 3, 5) for n in range(50)}
    ours.poll(0.3)
    assert ours.positions() == {Partition(topic, n): 6 * 25 + 6 for n in (0, 1)}  # markers too
    every = source(topic, isolation_level="read_uncommitted")
    assert drained(every, 300) == reference(kafka.bootstrap, topic, 2, 300)


def test_tombstones_and_compaction(kafka, source):
    topic = kafka.topic(1, min_cleanable_dirty_ratio="0.01", segment_ms="100", max_compaction_lag_ms="100")
    with kafka.producer() as producer:
        for number in range(40):
            producer.send(topic, None if number == 39 else b"%d" % number, key=b"k%d" % (number % 4)).get(10)
    ours = source(topic)
    rows = drained(ours, 40)
    assert rows[-1][2] is None
    assert ours.events() == [Tombstones(Partition(topic, 0), 1)]
    with kafka.admin() as admin:  # only now, or it may come before the reading
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "compact"})])
    with kafka.producer() as producer:
        time.sleep(0.2)
        producer.send(topic, b"next", key=b"n").get(10)  # begins a new segment: the one before may be compacted
    left, end = 41, time.monotonic() + 60
    while left > 5 and time.monotonic() < end:
        time.sleep(0.5)
        left = len(rows_from(source(topic)))
    assert left == 5  # the last of each key; it gets there in steps
    after = source(topic)
    assert drained(after, left) == reference(kafka.bootstrap, topic, 1, left)
    assert not any(isinstance(event, Gap) for event in after.events())
    assert after.positions() == {Partition(topic, 0): 41}


def rows_from(source):
    """All there is."""
    rows = []
    while arrivals := source.poll(0.5):
        rows += [row for arrival in arrivals for row in rows_of(arrival)]
    return rows


def test_deleted_records_are_a_gap_of_known_size(kafka, source):
    topic = kafka.topic(2)
    for number in (0, 1):
        with kafka.producer() as producer:
            for n in range(100):
                producer.send(topic, LINE % n, partition=number)
    with kafka.admin() as admin:
        admin.delete_records({TopicPartition(topic, 0): 60})
    ours = source(topic, positions={Partition(topic, 0): 10, Partition(topic, 1): 95})
    assert [row[1] for row in drained(ours, 45) if row[0].partition == 0] == list(range(60, 100))
    assert ours.events() == [Gap(Partition(topic, 0), 10, 60, 50)]
    assert set(ours.positions().values()) == {100}


def test_a_log_that_lost_its_end_is_told_and_read_on(kafka, source):
    topic = kafka.topic()
    send(kafka, topic, range(20))
    at = Partition(topic, 0)
    ours = source(topic, positions={at: 50})
    ours.poll(1.0)
    assert (ours.events(), ours.positions()) == ([Truncated(at, 50, 20)], {at: 20})
    send(kafka, topic, range(20, 30))
    assert [row[1] for row in drained(ours, 10)] == list(range(20, 30))


def test_a_log_that_parted_from_what_was_read_is_read_again_from_there(kafka, source):
    """After an unclean election kafka-python tells the last common offset (KIP-320)."""
    topic = kafka.topic()
    send(kafka, topic, range(20))
    at = Partition(topic, 0)
    ours = source(topic)
    drained(ours, 20)
    poll = ours._consumer.poll
    parted = LogTruncationError({TopicPartition(*at): OffsetAndMetadata(15, "", 1)})

    def once(**how):
        ours._consumer.poll = poll
        raise parted

    ours._consumer.poll = once
    assert [row[1] for row in drained(ours, 5)] == list(range(15, 20))
    assert ours.events() == [Truncated(at, 20, 15)]


def test_new_partitions_are_found_and_read_from_their_start(kafka, source, monkeypatch):
    monkeypatch.setattr("detector.sources.kafka.METADATA_MS", 500)
    topic = kafka.topic(1)
    send(kafka, topic, range(10))
    ours = source(topic)
    drained(ours, 10)
    with kafka.admin() as admin:
        admin.create_partitions({topic: 2})
    with kafka.producer() as producer:
        producer.send(topic, b"new", partition=1).get(10)
    [row] = drained(ours, 1)
    assert row[:3] == (Partition(topic, 1), 0, b"new")
    assert ours.events() == [NewPartition(Partition(topic, 1))]
    again = source(topic, positions={Partition(topic, 0): 10}, start="latest")
    assert again.events() == [NewPartition(Partition(topic, 1))]
    assert len(drained(again, 1)) == 1


def test_where_it_begins_without_positions(kafka, source):
    topic = kafka.topic(2)
    send(kafka, topic, range(20), 2)
    ours = source(topic, start="latest")
    assert ours.poll(0.3) == []
    send(kafka, topic, range(20, 25), 2)
    assert len(drained(ours, 5)) == 5


def test_pause_hands_over_nothing_and_loses_nothing(kafka, source):
    topic = kafka.topic(2)
    ours = source(topic, stall_seconds=0.5)
    send(kafka, topic, range(100), 2)
    ours.pause()
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        assert ours.poll(0.2) == []
    ours.resume()
    assert drained(ours, 100) == reference(kafka.bootstrap, topic, 2, 100)
    assert ours.events() == []


def test_little_memory_is_enough(kafka, source):
    """One partition has far more than may wait, and all of it sorts behind the other's."""
    topic = kafka.topic(2)
    with kafka.producer(linger_ms=5) as producer:
        for number in (0, 1):
            for n in range(3000):
                producer.send(topic, LINE % n, partition=number)
            producer.flush()
            time.sleep(0.15)
    ours = source(topic, held_bytes=20_000, partition_bytes=10_000)
    most, rows = 0, []
    while len(rows) < 6000:
        rows += [row for arrival in ours.poll(1.0) for row in rows_of(arrival)]
        most = max(most, *(ours._merge.held(at) for at in ours.positions()))
    assert rows == reference(kafka.bootstrap, topic, 2, 6000)
    assert most < 100_000


def test_a_pattern_finds_topics(kafka, source):
    first, other = kafka.topic(), kafka.topic()
    send(kafka, first, range(5))
    send(kafka, other, range(5))
    ours = source(pattern=f"{first[:-1]}[01]")
    assert {row[0].topic for row in drained(ours, 10)} == {first, other}
    with pytest.raises(UnreadableInput, match="matches"):
        source(pattern="none-of-this")


def test_identities_and_commits(kafka, source):
    topic = kafka.topic(2)
    send(kafka, topic, range(20), 2)
    ours = source(topic, group_id=topic)
    drained(ours, 20)
    behind = Partition(topic, 1)
    with kafka.admin() as admin:
        assert ours.cluster_id() == admin.describe_cluster()["cluster_id"]
        [described] = admin.describe_topics([topic])
        assert ours.topic_ids() == {topic: str(described["topic_id"])}
        end = time.monotonic() + SECONDS
        while not ours.commit(ours.positions() | {behind: 3}) and time.monotonic() < end:
            assert {event.what for event in ours.events()} == {"commit"}  # the first of a cluster makes the topic
            time.sleep(0.2)
        offsets = admin.list_group_offsets({topic: None})[topic]
    assert {Partition(*at): found.offset for at, found in offsets.items()} == ours.positions() | {behind: 3}
    assert ours.events() == []


def test_what_cannot_be_read_is_said_at_once(kafka, source):
    with pytest.raises(UnreadableInput, match="no topic"):
        source("not-there")
    topic = kafka.topic()
    with pytest.raises(UnreadableInput, match="no partition 3"):
        source(topic, positions={Partition(topic, 3): 0})


def test_a_topic_with_the_producers_time_is_told(kafka, source):
    topic = kafka.topic(message_timestamp_type="CreateTime")
    assert source(topic).events() == [NotAppendTime(topic, "CreateTime")]


def test_a_topic_made_anew_is_refused(kafka, source, monkeypatch):
    monkeypatch.setattr("detector.sources.kafka.METADATA_MS", 500)
    topic = kafka.topic()
    send(kafka, topic, range(20))
    ours = source(topic)
    drained(ours, 20)
    with kafka.admin() as admin:
        admin.delete_topics([topic])
        time.sleep(1)
        admin.create_topics({topic: {"num_partitions": 1}}, wait_for_metadata=True)
    with pytest.raises(UnreadableInput, match="made anew"):
        drained(ours, 1)


def test_a_damaged_batch_is_asked_for_again_then_given_up(kafka, source, monkeypatch):
    topic = kafka.topic()
    for start in (0, 10, 20):
        send(kafka, topic, range(start, start + 10), linger_ms=500)  # one batch, however busy the machine
    seen = []

    def damaged(response, offset, transactions):
        if offset == 10:
            seen.append(offset)
            raise UnreadableBatch(10, "checksum does not match, damaged")
        return read_records(response, offset, transactions)

    monkeypatch.setattr("detector.sources.kafka_fetch.read_records", damaged)
    ours = source(topic, positions={Partition(topic, 0): 10})
    assert [row[1] for row in drained(ours, 10)] == list(range(20, 30))
    assert seen == [10, 10]
    [event] = ours.events()
    assert event == Unreadable(Partition(topic, 0), 10, 20, "checksum does not match, damaged")


def silent(fetcher, partition):
    """Its records never come out, as with kafka-python before 3.0.9 (its issue 3131)."""
    parse = fetcher._parse_fetched_data

    def parsed(completed):
        return None if completed.topic_partition.partition == partition else parse(completed)

    fetcher._parse_fetched_data = parsed


def test_a_stalled_partition_is_healed_by_a_new_connection(kafka, source):
    topic = kafka.topic(2)
    ours = source(topic, stall_seconds=0.5)
    silent(ours._consumer._fetcher, 1)
    send(kafka, topic, range(100), 2)
    assert drained(ours, 100)
    stalls = [event for event in ours.events() if isinstance(event, Stalled)]
    assert stalls == [Stalled(Partition(topic, 1), "asked again"), Stalled(Partition(topic, 1), "connected anew")]


def test_a_partition_that_stays_stalled_is_an_error(kafka, source, monkeypatch):
    topic = kafka.topic(2)
    ours = source(topic, stall_seconds=0.3)
    silent(ours._consumer._fetcher, 1)
    connected = KafkaSource._connected

    def again(self):
        consumer = connected(self)
        silent(consumer._fetcher, 1)
        return consumer

    monkeypatch.setattr(KafkaSource, "_connected", again)
    send(kafka, topic, range(100), 2)
    with pytest.raises(PartitionStalled, match=f"{topic}:1 has records from offset 0"):
        drained(ours, 101)


# --- brokers that go ---


@LEAVES_SOCKETS
def test_a_broker_that_is_killed_and_comes_back(kafka_cluster, source):
    cluster = kafka_cluster(1)
    broker = broker_for(cluster.bootstrap, "restart")
    topic = broker.topic(2)
    send(broker, topic, range(200), 2)
    ours = source(topic, bootstrap=cluster.bootstrap)
    rows = drained(ours, 200)
    cluster.nodes[0].kill()
    ours.poll(0.5)
    cluster.nodes[0].restart()
    send(broker, topic, range(200, 400), 2)
    rows += drained(ours, 200)
    assert rows == reference(cluster.bootstrap, topic, 2, 400)


@LEAVES_SOCKETS
def test_one_of_three_brokers_is_lost(kafka_cluster, source):
    cluster = kafka_cluster(3)
    broker = broker_for(cluster.bootstrap, "loss")
    topic = broker.topic(6)
    ours = source(topic, bootstrap=cluster.bootstrap)
    send(broker, topic, range(600), 6)
    rows = drained(ours, 600)
    cluster.nodes[1].kill()
    start = time.monotonic()
    send(broker, topic, range(600, 1200), 6)
    rows += drained(ours, 600, seconds=30)
    print(f"healed after {time.monotonic() - start:.1f} s")
    assert sorted(rows) == sorted(reference(cluster.bootstrap, topic, 6, 1200))

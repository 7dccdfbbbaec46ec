"""F4, F5, F7: brokers that die, are restarted one by one, or hand over what they lead; and what they no longer have."""

import time

import pytest
from kafka import TopicPartition
from kafka.protocol.admin.topics import ElectionType

from detector.sources.kafka_merge import TICK_MS, Partition
from tests.faults.fed import Expected, Fed, on
from tests.faults.process import create, named_for
from tests.faults.test_rows import renumbered
from tests.kafka.fixtures import broker_for

LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kafka-python does
pytestmark = [pytest.mark.kafka, pytest.mark.faults, LEAVES_SOCKETS]
HEAL_SECONDS = 60.0  # twice what is promised: the machine of a test may be busy
OFFSETS = "__consumer_offsets"
PATIENT = {"merge_wait_seconds": 60}  # longer than a fault: else others go first, which is counted as out of order


@pytest.fixture(scope="module")
def three(kafka_cluster):
    return kafka_cluster(3)


@pytest.fixture
def subject(rows, world, three, tmp_path, request):
    """Three brokers, a running service that has read a part of its rows, and what it must tell of all."""
    for node in three.nodes:
        if node._process is None:
            node.restart()
    kafka = broker_for(three.bootstrap, request.node.name)
    with on(kafka, rows, world, tmp_path, share=0.4, kafka=PATIENT) as made:
        expected = Expected(made.rows, world, tmp_path)
        made.start()
        made.wait(made.through)
        yield three, made, expected


def test_a_broker_that_dies_and_comes_back(rows, world, kafka_cluster, tmp_path, results):
    """F4: the only one; reading goes on by itself."""
    cluster = kafka_cluster(1)
    with on(broker_for(cluster.bootstrap, "broker_dies"), rows, world, tmp_path, kafka=PATIENT) as service:
        expected = Expected(service.rows, world, tmp_path)
        service.start()
        service.wait(service.running)
        cluster.nodes[0].kill()
        time.sleep(5)
        cluster.nodes[0].restart()
        heal = service.finish()
        expected.check(service, results, "F4 the only broker dies and comes back", heal=heal)
        assert heal < HEAL_SECONDS


def test_a_rolling_restart(subject, results):
    """F4: while rows come, each of three is ended in order and started again."""
    three, service, expected = subject
    for number, node in enumerate(three.nodes):
        node.stop()
        service.publish_until(0.5 + 0.1 * number)
        node.restart()
    heal = service.finish()
    expected.check(service, results, "F4 rolling restart of three brokers", heal=heal)
    assert heal < HEAL_SECONDS


def test_one_of_three_is_lost_for_good_then_two(subject, results):
    """F5: without one nothing stops. Without two nothing can be read; it waits, and goes on when one is back."""
    three, service, expected = subject
    three.nodes[0].kill()
    service.publish_until(0.6)
    one = service.wait(service.through)
    assert one < HEAL_SECONDS
    three.nodes[1].kill()
    time.sleep(20)
    assert service.process.poll() is None
    three.nodes[1].restart()
    heal = service.finish()
    expected.check(service, results, "F5 one of three brokers lost for good", heal=round(one, 1))
    expected.check(service, results, "F5 two of three brokers lost, one returns", heal=heal)
    assert heal < HEAL_SECONDS


def test_leaders_and_the_coordinator_move(subject, results):
    """F7: every partition gets another leader, and another, while rows come."""
    _, service, expected = subject
    topics = {row.partition.topic for row in service.rows} | {OFFSETS}
    for share in (0.5, 0.6, 0.7, 0.8):
        _move(service.kafka, topics)
        service.publish_until(share)
    heal = service.finish()
    expected.check(service, results, "F7 leaders and coordinator move", heal=heal)
    assert heal < HEAL_SECONDS


def _move(kafka, topics):
    """Each partition is led by the next of its replicas."""
    with kafka.admin() as admin:
        wish = {}
        for topic in admin.describe_topics(sorted(topics)):
            for partition in topic["partitions"]:
                replicas = partition["replica_nodes"]
                wish[TopicPartition(topic["name"], partition["partition_index"])] = replicas[1:] + replicas[:1]
        admin.alter_partition_reassignments(wish)
        admin.elect_leaders(ElectionType.PREFERRED, sorted(wish), raise_errors=False)


def test_what_was_deleted_unread_is_a_gap(rows, world, kafka, tmp_path, results):
    """F7: offsets out of range; the service was down for too long."""
    with on(kafka, rows, world, tmp_path, share=0.5) as service:
        service.start()
        service.wait(service.through)
        assert service.stop()[0] == 0
        begin = service.sent
        service.publish_until(0.7)
        lost = service.rows[begin : service.sent]
        ends = {row.partition: row.offset + 1 for row in lost}
        with kafka.admin() as admin:
            admin.delete_records({TopicPartition(*at): end for at, end in ends.items()})
        service.start()
        service.publish_until(1)
        heal = service.wait(service.done(len(rows) - len(lost)))
        shown = service.metrics()
        assert (shown["eastwest_gaps_total"], shown["eastwest_gap_rows_total"]) == (len(ends), len(lost))
        assert service.stop()[0] == 0
        counted = service.outcome().checkpoint.counters
        assert sum(counted.values()) + shown["eastwest_rows_waiting"] == len(rows) - len(lost)
        results(fault="F7 records deleted unread", kills=0, mismatches=0, duplicates=0, heal=round(heal, 1))


def test_a_topic_gets_more_partitions(rows, world, kafka, tmp_path, results):
    """F22: in the middle of the stream; rows in the new one count as any other."""
    rows = _grown(rows)
    before = [row for row in named_for(rows, kafka.prefix) if row.partition.partition < 2]
    create(kafka, before)
    with Fed(kafka, named_for(rows, kafka.prefix), world, tmp_path) as service:
        expected = Expected(service.rows, world, tmp_path)
        service.publish_until(0.5)
        service.start()
        service.wait(service.through)
        topic = f"{kafka.prefix}-conn"
        with kafka.admin() as admin:
            admin.create_partitions({topic: 3})
        service.wait(lambda: "NewPartition" in service.log)
        heal = service.finish()
        expected.check(service, results, "F22 a topic gets more partitions", heal=heal)


def _grown(rows):
    """What stood in the second partition goes to a third one from half of the rows on."""
    half, second, third = rows[len(rows) // 2].time // TICK_MS + 1, Partition("conn", 1), Partition("conn", 2)
    timed = [
        (row.time, third if row.partition == second and row.time // TICK_MS >= half else row.partition, row.value)
        for row in rows
    ]
    return renumbered(sorted(timed, key=lambda row: (row[0] // TICK_MS, row[1])))

"""The rights in Kafka that docs/hardening.md gives are enough, and none of them is too much: a real broker with log-on
(SCRAM), which allows nobody anything else."""

import re
import shlex
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from detector.sources.kafka_merge import TICK_MS, Partition
from tests.conftest import REPOSITORY
from tests.faults.harness import Trial, broken
from tests.faults.process import SECONDS, Service, create, publish
from tests.faults.stream import rows_of
from tests.kafka.broker import Cluster, Node, Unavailable, free_ports
from tests.kafka.fixtures import broker_for, leave
from tests.scenarios.world import simulated

pytestmark = [pytest.mark.kafka, pytest.mark.long, pytest.mark.timeout(900)]

USERS = ("eastwest", "eastwest-normalize")
WORD = "a word of tests"
GUARDED = """
listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},GUARDED://127.0.0.1:{guarded}
advertised.listeners=PLAINTEXT://127.0.0.1:{plain},CONTROLLER://127.0.0.1:{controller},GUARDED://127.0.0.1:{guarded}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,GUARDED:SASL_PLAINTEXT
listener.name.guarded.sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.guarded.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=false
"""
"""Who comes without a name is the test, and the broker itself."""
STAGES = {"normalize": {"EASTWEST_STAGES": "normalize"}, "score": {"EASTWEST_STAGES": "score,correlate"}}
_RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


class Guarded(Cluster):
    """One node with a listener that asks for a name."""

    def __init__(self, folder: Path) -> None:
        [self.guarded] = free_ports(1)
        super().__init__(folder)

    def _settings(self, node: Node, controller: int) -> str:
        extra = GUARDED.format(plain=node.port, controller=controller, guarded=self.guarded)
        return super()._settings(node, controller) + extra


def rights(number: int) -> list[ACL]:
    """Those of a block of commands in the page, each operation by itself."""
    text = (REPOSITORY / "docs" / "hardening.md").read_text("utf-8")
    blocks = [block for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "kafka-acls" in block]
    return [acl for line in blocks[number].splitlines() for acl in _of(line)]


def _of(line: str) -> list[ACL]:
    words = shlex.split(line)
    said = {name[2:]: value for name, value in pairwise(words) if name.startswith("--")}
    kind = ACLResourcePatternType[said.get("resource-pattern-type", "literal").upper()]
    [(resource, name)] = [(_RESOURCES[key], said[key]) for key in _RESOURCES if key in said]
    operations = [value for name, value in pairwise(words) if name == "--operation"]
    return [
        ACL(said["allow-principal"], "*", ACLOperation[re.sub(r"(?<=[a-z])(?=[A-Z])", "_", each).upper()],
            ACLPermissionType.ALLOW, ResourcePattern(resource, name, kind))
        for each in operations
    ]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="module")
def rows(world):
    """All logs in one topic, which says of each line what it is."""
    of = rows_of(world)
    places = {each: Partition("zeek", n) for n, each in enumerate(sorted({row.partition for row in of}))}
    made = [row._replace(partition=places[row.partition], value=_tagged(row)) for row in of]
    return sorted(made, key=lambda row: (row.time // TICK_MS, row.partition, row.offset))


def _tagged(row):
    return b'{"_path":"%s",' % row.partition.topic.encode() + row.value[1:]


@pytest.fixture
def broker(tmp_path, rows):
    """The node with rows, users and the topic for alerts; and what administers it."""
    try:
        cluster = Guarded(tmp_path / "kafka")
    except Unavailable as problem:
        leave(str(problem))
    with cluster:
        admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
        users = [UserScramCredentialUpsertion(user, ScramMechanism.SCRAM_SHA_512, WORD) for user in USERS]
        admin.alter_user_scram_credentials(users)
        admin.create_topics({"alerts": {"num_partitions": 1}}, wait_for_metadata=True)
        filled = broker_for(cluster.bootstrap, "rights")
        create(filled, rows)
        publish(filled, rows)
        yield cluster, admin
        admin.close()


@pytest.fixture
def service(broker, world, tmp_path):
    """Call it with a name and a user for a service that is not started."""
    cluster, _ = broker
    (tmp_path / "word").write_text(WORD)
    with ExitStack() as stack:

        def make(name, group, user="eastwest"):
            sasl = {"mechanism": "SCRAM-SHA-512", "username": user, "password_file": str(tmp_path / "word")}
            folder = tmp_path / name
            sinks = [{"type": "file", "path": str(folder / "alerts.ndjson")}, {"type": "kafka", "topic": "alerts"}]
            kafka = {"group_id": group, "security": {"protocol": "SASL_PLAINTEXT", "sasl": sasl}}
            where = [f"127.0.0.1:{cluster.guarded}"]
            return stack.enter_context(
                Service(folder, where, ["zeek"], world.plant, kafka=kafka, alerts={"sinks": sinks})
            )

        yield make


@pytest.fixture(scope="module")
def golden(rows, world, tmp_path_factory):
    trial = Trial(tmp_path_factory.mktemp("golden") / "trial", rows, world.plant)
    assert not trial.run()
    return trial.outcome()


def grant(admin, acls, group="eastwest"):
    """These and no other, for a group that may have another name than in the page."""
    acls = [
        in_group(each, group) if each.resource_pattern.resource_type is ResourceType.GROUP else each for each in acls
    ]
    everything = ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY)
    admin.delete_acls([ACLFilter(None, None, ACLOperation.ANY, ACLPermissionType.ANY, everything)])
    admin.create_acls(acls)


def in_group(acl, group):
    """The same right to a group of another name."""
    found = acl.resource_pattern
    pattern = ResourcePattern(found.resource_type, found.resource_name.replace("eastwest", group), found.pattern_type)
    return ACL(acl.principal, acl.host, acl.operation, acl.permission_type, pattern)


def needed(acls):
    """Without `DescribeConfigs` all works; the page says so."""
    return [each for each in acls if each.operation is not ACLOperation.DESCRIBE_CONFIGS]


def sent(cluster):
    """The values in the topic of alerts."""
    consumer = KafkaConsumer(bootstrap_servers=cluster.bootstrap, auto_offset_reset="earliest")
    place = TopicPartition("alerts", 0)
    consumer.assign([place])
    [end], found = consumer.end_offsets([place]).values(), []
    while consumer.position(place) < end:
        for records in consumer.poll(timeout_ms=500).values():
            found += [record.value for record in records]
    consumer.close()
    return found


def refused(services, rows):
    """Whether somebody says that a right is missing, before all is through."""
    end = time.monotonic() + SECONDS
    through = services[-1].done(len(rows))
    try:
        while not any("uthoriz" in each.log for each in services):
            if through():
                return False
            assert time.monotonic() < end, [each.log[-1500:] for each in services]
            time.sleep(0.2)
        return True
    finally:
        for each in services:
            each.kill()


def superfluous(given, admin, start, rows):
    """Rights without which nobody complains."""
    found = []
    for number, missing in enumerate(needed(given)):
        group = f"eastwest-{number}"  # one whose offsets nobody committed
        grant(admin, [each for each in given if each is not missing], group)
        if not refused(start(f"without-{number}", group), rows):
            found.append(missing)
        if made := [name for name in admin.list_topics() if name.startswith("eastwest-rows.")]:
            admin.delete_topics(made)
    return found


def test_one_process_needs_these_and_no_more(broker, service, golden, rows):
    cluster, admin = broker
    given = rights(0)
    assert superfluous(given, admin, lambda *named: [service(*named).start()], rows) == []
    grant(admin, needed(given))
    subject = service("allowed", "eastwest").start()
    subject.wait(subject.done(len(rows)))
    assert subject.stop()[0] == 0
    assert "uthoriz" not in subject.log
    assert broken(golden, subject.outcome()) == []
    assert sorted(set(sent(cluster))) == sorted(line for _, line in golden.told)


def test_several_processes_need_these_and_no_more(broker, service, golden, rows):
    _, admin = broker
    given = rights(1)

    def start(name, group):
        normalizer, scorer = service(f"{name}-n", group, "eastwest-normalize"), service(f"{name}-s", group)
        normalizer.start(**STAGES["normalize"])
        while not (normalizer.running() or "uthoriz" in normalizer.log):
            time.sleep(0.2)  # it makes the topics of rows
        return normalizer, scorer.start(**STAGES["score"])

    assert superfluous(given, admin, start, rows) == []
    grant(admin, needed(given))
    normalizer, scorer = start("allowed", "eastwest")
    scorer.wait(scorer.done(len(rows)))
    assert [scorer.stop()[0], normalizer.stop()[0]] == [0, 0]
    assert "uthoriz" not in normalizer.log + scorer.log
    assert scorer.outcome().lines == golden.lines

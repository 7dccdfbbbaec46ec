"""A member of a group on a real Kafka comes to its partitions, also when topics are learned of late, or grow."""

import time

import pytest

from detector.service.kafka_options import connection_options, source_settings
from detector.service.settings import Kafka
from detector.sources import kafka_group
from detector.sources.kafka_group import Member
from tests.kafka.fixtures import kafka, kafka_bootstrap

__all__ = ["kafka", "kafka_bootstrap"]

pytestmark = pytest.mark.kafka
SECONDS = 20


def test_a_topic_that_grows_is_shared_anew_each_time(kafka, monkeypatch):
    monkeypatch.setattr(kafka_group, "METADATA_MS", 200)
    topic = kafka.topic(1)
    wish = Kafka.model_validate({"bootstrap": kafka.bootstrap, "topics": [topic], "group_id": kafka.prefix})
    member = Member(source_settings(wish), connection_options(wish), None)
    with kafka.admin() as admin:
        for count in range(1, 6):
            if count > 1:
                admin.create_partitions({topic: count})
            end = time.monotonic() + SECONDS
            ours = set()
            while len(ours) < count or not member.stable:
                assert time.monotonic() < end, (count, ours, member.stable)
                ours, _ = member.share(0.003 if member.stable else 0.01)  # so short that a join outlasts it
    member.close()

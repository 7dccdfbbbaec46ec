"""The real Kafka of the tests of `detector.sources.kafka`."""

from tests.kafka.fixtures import kafka, kafka_bootstrap, kafka_cluster

__all__ = ["kafka", "kafka_bootstrap", "kafka_cluster"]

from tests.kafka.fixtures import kafka, kafka_bootstrap

__all__ = ["kafka", "kafka_bootstrap"]

"""The sinks, by the names that settings give them. A new one is a module and a case."""

from collections.abc import Mapping
from typing import Any

from detector.sinks.delivery import Sink


def sink_of(kind: str, options: Mapping[str, Any], kafka: Mapping[str, Any]) -> Sink:
    """A sink that has not yet spoken to anybody: what is wrong with the other side is told by `Sink.send`.

    Args:
        kind: ``file``, ``console`` or ``kafka``.
        options: its own: ``path`` of a file, ``topic`` of Kafka.
        kafka: how the service reaches Kafka, as kafka-python takes it.

    Raises:
        ValueError: no such kind.
    """
    match kind:
        case "file":
            from detector.sinks.file import FileSink  # noqa: PLC0415 - a sink may need libraries that others do not

            return FileSink(**options)
        case "console":
            from detector.sinks.console import ConsoleSink  # noqa: PLC0415

            return ConsoleSink(**options)
        case "kafka":
            from detector.sinks.kafka import KafkaSink  # noqa: PLC0415

            return KafkaSink(**options, connection=kafka)
        case _:
            raise ValueError(f"no kind of sink: {kind}")

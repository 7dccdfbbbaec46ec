"""Each sink of the settings with its thread, and what metrics show of them."""

import time
from types import TracebackType
from typing import Final, Self

from detector.metrics import Metrics
from detector.service import logs
from detector.service.kafka_options import connection_options
from detector.service.settings import DeadLetters, ServiceSettings
from detector.service.sink_options import options_of
from detector.sinks.delivery import Delivery, retire, stop_all
from detector.sinks.kinds import sink_of
from detector.sinks.messages import rendering
from detector.sinks.outbox import Outbox

_DEAD_LETTERS: Final = "dead-letters"
_COMPLAIN_SECONDS: Final = 10.0  # between two lines of the log about one sink


class Deliveries:
    """The sinks of alerts, and the place of dead letters; a context that ends them all.

    Args:
        settings: of the service.
        alerts: outbox of alerts.
        dead_letters: outbox of records that could not be used.
        metrics: show how each does.

    Raises:
        StorageFailed: a cursor cannot be used.
    """

    def __init__(self, settings: ServiceSettings, alerts: Outbox, dead_letters: Outbox, metrics: Metrics) -> None:
        self._metrics = metrics
        self._log = logs.get("sinks")
        self._complained: dict[str, float] = {}  # when, by sink
        kafka = connection_options(settings.kafka)
        self._all = [
            Delivery(
                wish.label,
                sink_of(wish.type, options_of(wish), kafka),
                alerts,
                self._problem,
                render=rendering(wish.format),
            )
            for wish in settings.alerts.sinks
        ]
        self._retire(alerts)
        if settings.dead_letters is not None:
            place = sink_of(*_place(settings.dead_letters), kafka)
            self._all.append(Delivery(_DEAD_LETTERS, place, dead_letters, self._problem))
        else:
            self._retire(dead_letters)

    def __enter__(self) -> Self:
        for delivery in self._all:
            delivery.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(0.0)

    def wake(self) -> None:
        """There is more in an outbox."""
        for delivery in self._all:
            delivery.wake()

    def stop(self, seconds: float) -> None:
        """End all of them, at the latest after so many seconds; what is left goes out after the next start."""
        for name, done in stop_all(self._all, seconds).items():
            if not done:
                self._log.warning("a sink has not taken all; the rest waits in the outbox", sink=name)
        self._all = []

    def show(self, *, full: bool) -> None:
        """How each does, as metrics. ``full``: whether the outbox holds up reading."""
        for delivery in self._all:
            how = delivery.progress
            self._metrics.set("sink_waiting", how.waiting, sink=delivery.name)
            self._metrics.sink(delivery.name, how.delivered, how.retries, how.refused)
            self._metrics.set("sink_success_timestamp_seconds", how.last_success or 0.0, sink=delivery.name)
            self._metrics.set("sink_blocked", int(full and how.failing_since is not None), sink=delivery.name)

    def _retire(self, outbox: Outbox) -> None:
        for name, waiting in retire(outbox, {delivery.name for delivery in self._all}).items():
            if waiting:
                self._log.warning(
                    "a sink is no longer set; what it had not taken is let go", sink=name, records=waiting
                )

    def _problem(self, sink: str, reason: str) -> None:
        """Called at each try that failed, by the sink's own thread."""
        now = time.monotonic()
        if now - self._complained.get(sink, -_COMPLAIN_SECONDS) >= _COMPLAIN_SECONDS:
            self._complained[sink] = now
            self._log.warning("a sink does not take records", sink=sink, reason=reason)


def _place(wish: DeadLetters) -> tuple[str, dict[str, object]]:
    """Kind and options of the sink."""
    return ("kafka", {"topic": wish.topic}) if wish.topic is not None else ("file", {"path": wish.file})

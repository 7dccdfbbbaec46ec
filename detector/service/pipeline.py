"""Records of Kafka through the engine into the outboxes. No clock, no network: what comes out is a function of what
went in, whatever runs it was handed over in."""

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from detector.alerts.decisions import End, Entry
from detector.alerts.model import Alert, Told, told_json
from detector.assets.plant import Plant
from detector.engine import Engine
from detector.metrics import Metrics
from detector.normalize.clock import AHEAD
from detector.records import Arrived, Decoded, merge
from detector.service.decoding import Decoders, rejected, source_of
from detector.service.exporters import Exporters
from detector.service.settings import ServiceSettings
from detector.sinks.outbox import Outbox
from detector.sources.kafka_merge import Arrival, Partition
from detector.sources.quotas import OVER_QUOTA, Quotas
from detector.sources.record_batches import Records
from detector.sources.runs import Run
from detector.state.bundle import Bundle
from detector.state.snapshot import Capture

if TYPE_CHECKING:
    from detector.service.shadow import Shadow

DEAD_LETTER: Final = "dead_letter"
_REMEMBERED: Final = 4096  # runs of records whose broker times are kept, to tell how long an alert took


@dataclass(frozen=True, slots=True)
class Taken:
    """State at one moment, that of the candidate too, and where it stands in both outboxes."""

    capture: Capture
    shadow: Capture | None
    position: int
    alerts: int
    counters: dict[str, int]
    watermark: int | None


class Pipeline:
    """One engine, its decoders, and what it tells.

    Args:
        settings: of the service.
        plant: what is declared of the network.
        alerts: takes alerts and incidents, in the order in which they are told.
        dead_letters: takes records that could not be used, in the order in which they came.
        metrics: counts.
        decisions: what people decided.
        model: what another network taught, to begin with.

    Attributes:
        shadow: a candidate that takes the same rows, and says nothing to anybody here; to be set before the first.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        plant: Plant | None,
        alerts: Outbox,
        dead_letters: Outbox,
        metrics: Metrics,
        decisions: Sequence[Entry | End] = (),
        model: Bundle | None = None,
    ) -> None:
        self.shadow: Shadow | None = None
        self.engine = Engine(settings.engine, plant, settings.train_until_us, decisions, model)
        self.engine.judge.keep_all = False
        self.engine.release_rows = sys.maxsize  # `settle` says when: until all partitions of a portion are pushed
        self._alerts, self._dead_letters, self._metrics = alerts, dead_letters, metrics
        self._decoders = Decoders(settings)
        topics = settings.kafka.topics
        self._quotas = Quotas(lambda name: next((each.rows_per_second for each in topics if each.matches(name)), None))
        self.exporters = Exporters()
        self._clocks: deque[tuple[str, Arrived]] = deque(maxlen=_REMEMBERED)
        self._told: deque[Told] = deque()  # not stored yet
        self.incidents: list[Told] = []  # stored: those told for the first time, and those that became part of another
        self._letters: deque[bytes] = deque()

    # --- records in, alerts out ---

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Decode records and push them into the engine; `settle` tells what came of it.

        What came in many short runs of several partitions is decoded a partition at a time, which is quicker, and put
        back in turn by the engine.
        """
        first = 0
        runs: dict[Partition, list[tuple[Arrival, int]]] = {}
        for arrival in arrivals:
            runs.setdefault(arrival.partition, []).append((arrival, first))
            first += len(arrival.records)
        decoded = {partition: self._decode(partition, mine) for partition, mine in runs.items()}
        self._quotas.apply(decoded)
        letters = [letter for parts in decoded.values() for letter in self._push(parts)]
        letters.sort(key=itemgetter(0))  # as records came: what else is in the portion must not show in the outbox
        self._letters.extend(letter for _, letter in letters)

    def _decode(self, partition: Partition, runs: list[tuple[Arrival, int]]) -> list[Decoded]:
        """What the records of a partition are; ``runs`` have the turns of their first records."""
        source = source_of(partition)
        arrived = Arrived(
            np.concatenate([arrival.records.offsets for arrival, _ in runs]),
            np.concatenate([arrival.times for arrival, _ in runs]),
            np.concatenate([np.arange(first, first + len(arrival.records)) for arrival, first in runs]),
        )
        self._clocks.append((source, arrived))
        with self._metrics.stage("decode"):
            parts = [rejected(partition, arrival.damaged) for arrival, _ in runs if arrival.damaged]
            parts += self._decoded(partition, [arrival.records for arrival, _ in runs])
        for decoded in parts:
            decoded.arrived = arrived
            self.exporters.heard(partition.topic, decoded, int(arrived.times[-1]))
        return parts

    def _push(self, parts: list[Decoded]) -> list[tuple[int, bytes]]:
        """Returns dead letters, each with the turn of its record."""
        letters: list[tuple[int, bytes]] = []
        for decoded in parts:
            self.engine.push(decoded)
            if self.shadow is not None:
                self.shadow.push(decoded)
            written = [reject for reject in decoded.rejects if reject.letter]
            if written and decoded.arrived:
                offsets = np.array([reject.position for reject in written], dtype=np.int64)
                turns = decoded.arrived.of(decoded.arrived.turns, offsets).tolist()
                letters += zip(turns, (reject.letter for reject in written), strict=True)
        return letters

    def _decoded(self, partition: Partition, contents: Sequence[Records | Run]) -> list[Decoded]:
        """What another process has decoded is taken as it is."""
        runs = [content.decoded for content in contents if isinstance(content, Run)]
        records = [content for content in contents if isinstance(content, Records)]
        return [merge(runs)] if runs else self._decoders.decode(partition, records)

    def settle(self, now: Callable[[], float] | None = None) -> None:
        """Tell what came of the records.

        Args:
            now: seconds since the epoch, to measure how long an alert took.

        Raises:
            StorageFailed: not all is stored; the same call goes on where it stopped.
        """
        with self._metrics.stage("score"):
            self.engine.settle()
            if self.shadow is not None:
                self.shadow.settle()
        self._told.extend(self.engine.judge.told())
        with self._metrics.stage("outbox"):
            while self._told:
                self._alerts.append(self._told[0].kind, told_json(self._told[0]))
                told = self._told.popleft()
                if told.kind == "incident" and (told.revision == 0 or told.record is None):
                    self.incidents.append(told)
                self._measure(told, now)
            while self._letters:
                self._dead_letters.append(DEAD_LETTER, self._letters[0])
                self._letters.popleft()

    # --- state ---

    def capture(self, clocks: Mapping[Partition, int]) -> Taken:
        """Everything up to now.

        Args:
            clocks: latest broker time of each partition.
        """
        self.settle()
        beside = {
            "decoders": [[*partition, state] for partition, state in self._decoders.states().items()],
            "clocks": [[*partition, time] for partition, time in sorted(clocks.items())],
            "quotas": self._quotas.state(),
            "dead_letters": self._dead_letters.next,
        }
        account = self.engine.accounting
        return Taken(
            self.engine.capture(beside),
            None if self.shadow is None else self.shadow.capture(beside),
            account.rows,
            self._alerts.next,
            self.outcomes(),
            self.engine.order.watermark if account.rows else None,
        )

    def restore(self, state: bytes) -> dict[Partition, int]:
        """Go on from a captured state; returns the broker times of `capture`.

        Raises:
            StateMismatch: see `Engine.restore`.
            StorageFailed: of the outbox.
        """
        beside: dict[str, Any] = self.engine.restore(state)
        for topic, partition, known in beside["decoders"]:
            self._decoders.load_state(Partition(topic, partition), known)
        self._quotas.load_state(beside.get("quotas", []))  # checkpoints of old have none
        self._dead_letters.rewind(beside["dead_letters"])
        return {Partition(topic, partition): time for topic, partition, time in beside["clocks"]}

    def outcomes(self) -> dict[str, int]:
        """Records by what became of them."""
        account = self.engine.accounting
        return {
            "scored": account.scored,
            "rejected": account.rejected.total(),
            "duplicate": account.duplicate,
            "late": account.late,
            "filtered": account.filtered.total(),
        }

    @property
    def future(self) -> int:
        """Rows dated so long after they came that they got the broker's time."""
        return sum(count for (_, what), count in self.engine.accounting.notes.items() if what == AHEAD)

    @property
    def over_quota(self) -> int:
        """Of the filtered: rows beyond the quota of their topic."""
        return self.engine.accounting.filtered["kafka", OVER_QUOTA]

    # --- inside ---

    def _measure(self, told: Told, now: Callable[[], float] | None) -> None:
        if now is None or told.revision or not isinstance(told.record, Alert) or told.made_by is None:
            return
        came = self._came(*told.made_by)
        if came is not None:
            self._metrics.alert(told.record.severity, now() - came / 1e6)

    def _came(self, source: str, offset: int) -> int | None:
        """The broker's time of a record, µs; None when that is long ago."""
        for known, arrived in reversed(self._clocks):
            offsets = arrived.positions
            if known == source and offsets.size and offsets[0] <= offset <= offsets[-1]:
                return int(arrived.times[offsets.searchsorted(offset)])
        return None

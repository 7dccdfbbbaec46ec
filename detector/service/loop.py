"""`eastwest run`: Kafka in, alerts out, until told to stop.

One thread does it all in turns: poll, score, store, and now and then capture the state; another writes what was
captured, and each sink has its own. What is told is on the disk before the checkpoint that covers it, so a crash at any
moment makes nothing lost and nothing twice (`docs/reliability.md`).
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

import detector
from detector.alerts.decisions import load_decisions
from detector.alerts.model import Incident, iso
from detector.assets.plant import load_plant
from detector.errors import ConfigError, StorageFailed
from detector.incidents.book import Book, Opening
from detector.incidents.life import stamp
from detector.incidents.trend import means, states
from detector.metrics import Metrics
from detector.service import logs, memory
from detector.service.cases import CasesApi
from detector.service.decoding import source_of
from detector.service.deliveries import Deliveries
from detector.service.faults import point
from detector.service.health import Health, HealthServer
from detector.service.kafka_options import SecretFile, SecretVariable, source_settings
from detector.service.normalizing import SHOWN_DIGITS, normalize
from detector.service.pipeline import Pipeline, Taken
from detector.service.portions import portions
from detector.service.saved import Saved
from detector.service.settings import ALL_STAGES, Model, ServiceSettings
from detector.service.shadow import Shadow
from detector.service.warm import warm
from detector.sinks.outbox import Outbox
from detector.sources.kafka import KafkaSource
from detector.sources.kafka_events import Event, Failed, Gap, OutOfOrder, Stalled, Tombstones, Truncated, Unreadable
from detector.sources.kafka_merge import Partition
from detector.sources.kafka_rows import RowsSource
from detector.state.bundle import Bundle, read_bundle
from detector.state.checkpoints import Checkpoint
from detector.state.snapshot import fingerprint

_POLL_SECONDS: Final = 0.2  # longest wait for records; also how soon a signal is heeded
_SHOW_SECONDS: Final = 1.0  # between two looks at lag and sizes
_RETRY_SECONDS: Final = 1.0  # between two tries of a full disk
_RESUME_FILL: Final = 0.9  # of the outbox' limit; a little below, or pauses would come and go
_DRAIN_SECONDS: Final = 10.0  # that sinks have at the end for what is stored; the rest goes out after the next start
_NAMED: Final = 10  # partitions in a line of the log
_MOST_WAITING: Final = 10_000  # incidents that wait for a journal that cannot be written
_Writing = Future[dict[Partition, int]]  # gives the positions that are in the checkpoint


def run(settings: ServiceSettings, stop: threading.Event) -> None:
    """Run the service until ``stop``; then store, write a last checkpoint, and end.

    Raises:
        ConfigError: the plant file, the model, a key, the address of metrics or the limit of memory cannot be used.
        UnreadableInput: Kafka does not answer, or lacks a topic.
        StateMismatch: there are checkpoints, and the newest cannot be gone on from.
        StorageFailed, FolderInUse: the outbox or the checkpoints cannot be used.
        PartitionStalled: a partition gives nothing, whatever was tried.
    """
    if settings.stages == ALL_STAGES[:1]:
        normalize(settings, stop)
        return
    memory.require(settings)
    log = logs.get("service")
    plant = None if settings.plant is None else load_plant(settings.plant)
    decisions = () if settings.decisions is None else load_decisions(settings.decisions)
    model, candidate = _models(settings)
    health = Health()
    with ExitStack() as stack:
        alerts = stack.enter_context(_outbox(settings, "alerts"))
        letters = stack.enter_context(_outbox(settings, "dead-letters"))
        metrics = Metrics(detector.__version__, fingerprint(settings.model_dump(mode="json"))[:SHOWN_DIGITS])
        book = Book(settings.outbox.folder)
        cases = CasesApi(book, _token(settings))
        stack.enter_context(HealthServer(settings.http.host, settings.http.port, health, metrics.exposition, cases))
        warm(settings.engine)
        health.done("warm")
        pipeline = Pipeline(settings, plant, alerts, letters, metrics, decisions, model)
        if candidate is not None:
            pipeline.shadow = Shadow(settings, plant, candidate, metrics, decisions)
        loop = Loop(settings, pipeline, alerts, letters, metrics, health, book)
        source = loop.restore()
        stack.callback(source.close)
        deliveries = stack.enter_context(Deliveries(settings, alerts, letters, metrics))
        for place, bundle in (("live", model), ("shadow", candidate)):
            if bundle is not None:
                log.info("has a model", place=place, name=bundle.manifest.name, sha256=bundle.sha256,
                         signature=bundle.signature)  # fmt: skip
        log.info("running", partitions=len(source.positions()), version=detector.__version__)
        loop.go(source, deliveries, stop)
        deliveries.stop(_DRAIN_SECONDS)
        log.info("stopped", rows=pipeline.engine.accounting.rows)


class Loop:
    """The turns, and when to write a checkpoint.

    Args:
        settings: of the service.
        pipeline: what happens to records.
        alerts: outbox of alerts.
        dead_letters: outbox of records that could not be used.
        metrics: of all this.
        health: is told that the loop goes round.
        book: is told of incidents.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        pipeline: Pipeline,
        alerts: Outbox,
        dead_letters: Outbox,
        metrics: Metrics,
        health: Health,
        book: Book,
    ) -> None:
        self._settings, self._pipeline, self._metrics, self._health = settings, pipeline, metrics, health
        self._book, self._book_problem = book, ""
        self._alerts, self._dead_letters = alerts, dead_letters
        self._log = logs.get("loop")
        self._saved: Saved  # `restore` makes it
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._writing: _Writing | None = None
        self._written_at = self._shown_at = time.monotonic()
        self._rows_written = 0
        self._paused = self._alone = False
        self._drift: tuple[int, int, int] | None = None  # the last that was counted
        for model in pipeline.engine.scorer.drift.names:  # from 0 on, or the first would be no increase
            metrics.count("drift_changes", 0, model=model)
        self._letters_floors: deque[int] = deque(maxlen=settings.state.keep)

    # --- beginning ---

    def restore(self) -> KafkaSource:
        """Go on from the newest checkpoint; returns the source, where it left off."""
        source = _source(self._settings)
        try:
            self._saved = Saved(self._settings, self._pipeline, source)
            loaded = self._saved.latest(self._alerts.end)
            for reason in loaded.refused:
                self._metrics.count("checkpoint_corrupt")
                self._log.error("checkpoint refused", reason=reason)
            if loaded.checkpoint is None:
                self._log.info("begins without a checkpoint")
                source.begin()
                # So that a crash has a place to go back to: records made again must find the outbox as it is now.
                self._saved.begin_shadow(None)
                self._write(self._pipeline.capture({}), source.positions())
            else:
                self._go_on(source, loaded.checkpoint, loaded.outbox_lost)
                self._saved.begin_shadow(loaded.checkpoint.position)
                if self._saved.anew:  # or a crash would leave it to `kafka.start` once more
                    self._write(self._pipeline.capture(source.clocks()), source.positions())
        except BaseException:
            source.close()
            raise
        self._ready(source)
        return source

    def _go_on(self, source: KafkaSource, checkpoint: Checkpoint, lost: int) -> None:
        clocks = self._pipeline.restore(checkpoint.state)
        self._alerts.rewind(checkpoint.outbox)
        if lost:
            self._log.error("the outbox lacks records that were told before the checkpoint", records=lost)
        positions = {
            Partition(topic, number): offset
            for topic, offsets in checkpoint.offsets.items()
            for number, offset in offsets.items()
        }
        self._rows_written = checkpoint.position
        for held in self._pipeline.engine.judge.adopted:
            self._log.warning("a decision holds at other times than its file says: they lie before what was read",
                              decision=held.entry.id, holds_from=iso(held.holds[0]))  # fmt: skip
        self._log.info("goes on from a checkpoint", rows=checkpoint.position, outbox=checkpoint.outbox)
        source.begin(positions, {at: time for at, time in clocks.items() if at in positions})

    def _ready(self, source: KafkaSource) -> None:
        self._health.done("restored")
        self._health.done("assigned")
        for partition in source.lag():
            self._metrics.partition(*partition, 0, 0.0)

    # --- turns ---

    def go(self, source: KafkaSource, deliveries: Deliveries, stop: threading.Event) -> None:
        """Turn after turn until ``stop``, then a last checkpoint. However it ends, nothing writes when it has ended."""
        with self._writer:
            while not stop.is_set():
                self._health.beat()
                self._turn(source, deliveries)
                self._heed(source.events())
                self._pause_or_not(source)
                self._checkpoint_if_due(source)
                self._show(source, deliveries)
            self._finish(source, deliveries)

    def _turn(self, source: KafkaSource, deliveries: Deliveries) -> None:
        with self._metrics.stage("poll"):
            arrivals = source.poll(_POLL_SECONDS)
        point("polled")
        for some in portions(arrivals):
            self._pipeline.take(some)
            point("decoded")
            self._store(deliveries)
            self._health.beat()

    def _store(self, deliveries: Deliveries) -> None:
        """Bring what is told to the disk; nothing else happens until it is there."""
        told_of_it, before = False, (self._alerts.durable, self._dead_letters.durable)
        while True:
            try:
                self._pipeline.settle(time.time)
                point("appended")
                self._alerts.sync()
                point("synced")
                self._dead_letters.sync()
            except StorageFailed as problem:
                if not told_of_it:
                    self._log.error("the outbox cannot be written; reading waits", problem=str(problem))
                told_of_it = True
                self._health.beat()
                self._metrics.set("paused", 1)
                time.sleep(_RETRY_SECONDS)
            else:
                if told_of_it:
                    self._log.info("the outbox can be written again")
                if (self._alerts.durable, self._dead_letters.durable) != before:
                    deliveries.wake()
                self._note_incidents()
                return

    def _note_incidents(self) -> None:
        """What was told of incidents goes into their journal; one that cannot be written holds up nothing, and has it
        with the next."""
        waiting = self._pipeline.incidents
        if not waiting:
            return
        now = datetime.now(UTC)
        try:
            opened = [Opening.of(told.record, stamp(now)) for told in waiting if isinstance(told.record, Incident)]
            self._book.open(opened, now)
            for told in waiting:
                if told.record is None:
                    self._book.merge(told.id, told.merged_into, now)
        except (ConfigError, OSError) as problem:
            self._tell_of_book(str(problem))
            del waiting[:-_MOST_WAITING]
        else:
            waiting.clear()
            self._tell_of_book("")

    def _tell_of_book(self, problem: str) -> None:
        """Once, not with each turn."""
        if problem and problem != self._book_problem:
            self._log.error("the journal of incidents cannot be written", problem=problem)
        self._book_problem = problem

    def _heed(self, events: list[Event]) -> None:
        """What happened while reading is counted and told."""
        for event in events:
            match event:
                case Gap(partition, wanted, earliest, lost):
                    self._metrics.count("gaps")
                    self._metrics.count("gap_rows", lost)
                    self._log.error("records were deleted before they were read", partition=source_of(partition),
                                    wanted=wanted, earliest=earliest, lost=lost)  # fmt: skip
                case Truncated(partition, wanted, resumed):
                    self._metrics.count("gaps")
                    self._log.error("the brokers lost the end of a log", partition=source_of(partition),
                                    wanted=wanted, resumed=resumed)  # fmt: skip
                case Unreadable(partition, first, after, reason):
                    self._metrics.count("unreadable_batches")
                    self._log.error("a record batch cannot be read", partition=source_of(partition),
                                    first=first, after=after, reason=reason)  # fmt: skip
                case Stalled(partition, action):
                    self._metrics.count("stalls")
                    self._log.error("a partition stalls", partition=source_of(partition), action=action)
                case OutOfOrder(_, count):
                    self._metrics.count("out_of_order_rows", count)
                case Failed(what, reason):
                    self._log.warning("a question to Kafka failed", what=what, reason=reason)
                case Tombstones():
                    pass  # counted as rows
                case _:
                    self._log.warning(type(event).__name__, event=str(event))

    def _pause_or_not(self, source: KafkaSource) -> None:
        """Kafka keeps what we cannot: a full outbox pauses reading until sinks have caught up, and so does a checkpoint
        while memory is short."""
        fill = max(self._alerts.fill, self._dead_letters.fill)
        short = self._writing is not None and memory.short(self._settings.memory.limit_bytes)
        if (fill >= 1 or short) and not self._paused:
            self._paused = True
            source.pause()
            why = "memory is short until a checkpoint is written" if short else "the outbox is full"
            self._log.error("reading pauses", why=why)
        elif self._paused and fill < _RESUME_FILL and not short:
            self._paused = False
            source.resume()
            self._log.info("reading goes on")

    # --- checkpoints ---

    def _checkpoint_if_due(self, source: KafkaSource) -> None:
        if self._writing is not None:
            if not self._writing.done():
                return
            self._conclude(self._writing, source)
            self._writing = None
        state, rows = self._settings.state, self._pipeline.engine.accounting.rows
        old = time.monotonic() - self._written_at >= state.every_seconds
        many = state.every_rows is not None and rows - self._rows_written >= state.every_rows
        if rows > self._rows_written and (old or many):
            self._writing = self._begin_checkpoint(source)

    def _begin_checkpoint(self, source: KafkaSource) -> _Writing:
        """The path stops only for the capture."""
        self._written_at, self._rows_written = time.monotonic(), self._pipeline.engine.accounting.rows
        with self._metrics.stage("checkpoint"):
            taken = self._pipeline.capture(source.clocks())
        self._alerts.sync()
        self._dead_letters.sync()
        point("captured")
        self._letters_floors.append(self._dead_letters.next)
        return self._writer.submit(self._write, taken, source.positions())

    def _write(self, taken: Taken, positions: dict[Partition, int]) -> dict[Partition, int]:
        began = time.monotonic()
        size = self._saved.write(taken, positions)
        self._metrics.set("checkpoint_bytes", size)
        self._metrics.set("checkpoint_duration_seconds", time.monotonic() - began)
        self._metrics.set("checkpoint_timestamp_seconds", time.time())
        return positions

    def _conclude(self, writing: _Writing, source: KafkaSource) -> None:
        """What may be let go once a checkpoint is written; a failed one is tried again in its turn."""
        problem = writing.exception()
        if isinstance(problem, StorageFailed):
            self._metrics.count("checkpoint_failures")
            self._log.error("a checkpoint could not be written", problem=str(problem))
            return
        if problem is not None:
            raise problem
        source.commit(writing.result())
        point("committed")
        try:
            self._alerts.release(self._saved.outbox_floor)
            full = len(self._letters_floors) == self._letters_floors.maxlen
            self._dead_letters.release(min(self._letters_floors) if full else 0)
        except StorageFailed as failed:
            self._log.warning("old segments of the outbox stay", problem=str(failed))

    # --- showing ---

    def _show(self, source: KafkaSource, deliveries: Deliveries) -> None:
        now = time.monotonic()
        if now - self._shown_at < _SHOW_SECONDS:
            return
        self._shown_at = now
        metrics, engine = self._metrics, self._pipeline.engine
        metrics.rows(self._pipeline.outcomes())
        metrics.rejected(engine.accounting.rejected)
        metrics.raised("quota_rows", "engine", self._pipeline.over_quota)
        metrics.raised("future_rows", "engine", self._pipeline.future)
        metrics.set("rows_waiting", engine.accounting.waiting)
        decisions = engine.judge.decisions
        metrics.decided(decisions.hits, [one.entry.id for one in decisions.held])
        metrics.raised("violations_withheld", "engine", engine.judge.violations.withheld)
        metrics.trusted(engine.scorer.trust.verdicts(), engine.scorer.trust.failures())
        metrics.set("incidents", len(engine.judge.chains.incidents))
        metrics.set("budget_correction", engine.judge.budget.correction)
        metrics.set("budget_alerts_per_day", engine.judge.budget.alerts_per_day)
        heard, silent = self._pipeline.exporters.counts()
        metrics.set("exporters", heard)
        metrics.set("exporters_silent", silent)
        self._show_state()
        self._show_incidents()
        for partition, lag in source.lag().items():
            metrics.partition(*partition, lag.rows, lag.seconds or 0.0)
        self._show_silence(source.silent())
        metrics.set("paused", int(self._paused))
        metrics.set("outbox_bytes", self._alerts.fill * self._alerts.limit_bytes)
        metrics.set("outbox_fill_ratio", self._alerts.fill)
        for outbox in (self._alerts, self._dead_letters):
            metrics.raised("replay_skipped", outbox.folder.name, outbox.counts.repeated)
            metrics.raised("replay_mismatch", outbox.folder.name, outbox.counts.mismatched)
        deliveries.show(full=self._paused)

    def _show_silence(self, silent: Mapping[Partition, float]) -> None:
        """Who normalizes speaks of each of his partitions several times a second, if only that it has nothing."""
        self._metrics.set("normalizers_silent_seconds", max(silent.values(), default=0.0))
        alone = sorted(at for at, seconds in silent.items() if seconds > self._settings.kafka.stall_seconds)
        if alone:
            self._health.lost("assigned", f"nobody normalizes {len(alone)} partitions, {source_of(alone[0])} for one")
        elif self._alone:
            self._health.done("assigned")
        if bool(alone) != self._alone:
            self._alone = bool(alone)
            tell = self._log.error if alone else self._log.info
            tell("nobody normalizes" if alone else "all is normalized again",
                 partitions=[*map(source_of, alone[:_NAMED])], count=len(alone))  # fmt: skip

    def _show_incidents(self) -> None:
        """Their states and times, as the journal has them: people and other processes write in it, too."""
        try:
            known = self._book.cases().values()
        except (ConfigError, OSError) as problem:
            self._tell_of_book(str(problem))
            return
        for state, count in states(known).items():
            self._metrics.set("incident_cases", count, state=state)
        for step, seconds in means(known).items():
            self._metrics.set("incident_mean_seconds", math.nan if seconds is None else seconds, step=step)

    def _show_state(self) -> None:
        scorer = self._pipeline.engine.scorer
        tables = scorer.tables()
        for name, table in tables.items():
            self._metrics.set("state_entries", int(table.used[0]), table=name)
        self._metrics.raised("truncated_rows", "engine", int(scorer.history.truncated[0]))
        self._metrics.evicted({name: table.evicted for name, table in tables.items()})
        found = scorer.drift.found
        fresh = found[found.index(self._drift) + 1 :] if self._drift in found else found
        for _, model, _ in fresh:
            self._metrics.count("drift_changes", model=scorer.drift.names[model])
        self._drift = found[-1] if found else None

    # --- the end ---

    def _finish(self, source: KafkaSource, deliveries: Deliveries) -> None:
        """What was read is stored and in a checkpoint, so that the next start has nothing to do again."""
        self._store(deliveries)
        if self._writing is not None:
            self._conclude_at_the_end(self._writing, source)
        if self._pipeline.engine.accounting.rows > self._rows_written:
            self._conclude_at_the_end(self._begin_checkpoint(source), source)

    def _conclude_at_the_end(self, writing: _Writing, source: KafkaSource) -> None:
        writing.exception()  # waits
        self._health.beat()
        self._conclude(writing, source)


def _token(settings: ServiceSettings) -> Callable[[], str] | None:
    """Of those who move incidents."""
    if settings.http.token_file is not None:
        return SecretFile(settings.http.token_file)
    return None if settings.http.token_env is None else SecretVariable(settings.http.token_env)


def _source(settings: ServiceSettings) -> KafkaSource:
    """Raw topics, or what others made of them."""
    rows, kafka = settings.rows, source_settings(settings.kafka, settings.rows.prefix)
    return KafkaSource(kafka) if settings.stages == ALL_STAGES else RowsSource(kafka, rows.prefix, rows.create)


def _outbox(settings: ServiceSettings, name: str) -> Outbox:
    wish = settings.outbox
    return Outbox(wish.folder / name, wish.segment_bytes, wish.limit_bytes)


def _models(settings: ServiceSettings) -> tuple[Bundle | None, Bundle | None]:
    """The live one and the candidate, verified."""
    wish = settings.model or Model()
    live, candidate = (None if file is None else read_bundle(file, wish.key_file) for file in (wish.file, wish.shadow))
    return live, candidate

"""What the service goes on from: checkpoints of the live engine, and beside them those of a candidate."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from detector.engine import Engine
from detector.errors import ForeignCheckpoint, StateMismatch
from detector.service import logs
from detector.service.faults import point
from detector.service.pipeline import Pipeline, Taken
from detector.service.settings import ServiceSettings
from detector.sources.kafka import KafkaSource
from detector.sources.kafka_merge import Partition
from detector.state.checkpoints import Checkpoint, Checkpoints, Loaded, Origin, read_key
from detector.state.stores import Access, store_of

_SCOPE: Final = "service"
_SHADOW_SCOPE: Final = "shadow"
_NAMED: Final = 10  # topics in a line of the log


class Saved:
    """The checkpoints of a service.

    Args:
        settings: of the service.
        pipeline: whose state they hold.
        source: where its records come from; a checkpoint of other topics is not gone on from.
    """

    def __init__(self, settings: ServiceSettings, pipeline: Pipeline, source: KafkaSource) -> None:
        self._settings, self._pipeline = settings, pipeline
        self._ours, self._shadows = _checkpoints(settings, _SCOPE), _checkpoints(settings, _SHADOW_SCOPE)
        self._origin = _origin_of(source, pipeline.engine)
        shadow = pipeline.shadow
        self._shadow_origin = None if shadow is None else _origin_of(source, shadow.engine)
        self.anew = False  # whether what `latest` found lacks offsets of topics that were made anew
        self._log = logs.get("saved")

    @property
    def outbox_floor(self) -> int:
        """The first record of the outbox that a checkpoint may need."""
        return self._ours.outbox_floor

    def latest(self, outbox_end: int) -> Loaded:
        """The newest checkpoint of this service, with offsets of the topics that still are; of a candidate that was
        promoted, what it learned in the shadow.

        Args:
            outbox_end: how many records the outbox has.

        Raises:
            StateMismatch: there are checkpoints, and the newest cannot be gone on from.
        """
        wish = self._settings.state
        try:
            loaded = self._ours.latest(self._origin, outbox_end, wish.allow_cold_start, wish.allow_new_topics)
            return loaded if loaded.checkpoint is None else replace(loaded, checkpoint=self._still(loaded.checkpoint))
        except ForeignCheckpoint as foreign:
            try:
                promoted = self._shadows.latest(self._origin, outbox_end)
            except StateMismatch:
                raise foreign from None
            if promoted.checkpoint is None:
                raise
            self._log.info("a candidate was promoted and goes on from what it learned", model=self._origin.model,
                           rows=promoted.checkpoint.position)  # fmt: skip
            self._ours.latest(self._origin, outbox_end, allow_cold_start=True)  # a generation of its own
            return promoted

    def _still(self, checkpoint: Checkpoint) -> Checkpoint:
        """Without the offsets of topics that were made anew (`allow_new_topics`)."""
        was, now = checkpoint.origin, self._origin
        gone = {topic for topic, number in was.topics.items() if now.topics.get(topic, number) != number}
        if was.cluster != now.cluster:
            gone = {*checkpoint.offsets}
        if not gone:
            return checkpoint
        self.anew = True
        self._ours.begin_anew()
        self._log.warning("topics were made anew and are read from where settings say", topics=sorted(gone)[:_NAMED],
                          cluster=was.cluster, now=now.cluster)  # fmt: skip
        return replace(checkpoint, offsets={name: of for name, of in checkpoint.offsets.items() if name not in gone})

    def begin_shadow(self, position: int | None) -> None:
        """The candidate goes on from where the live engine does, or begins anew there."""
        shadow = self._pipeline.shadow
        if shadow is None or self._shadow_origin is None:
            return
        found = self._shadows.latest(
            self._shadow_origin, allow_cold_start=True, allow_new_topics=self._settings.state.allow_new_topics
        ).checkpoint
        if found is not None and found.position == position:
            shadow.restore(found.state)
            return
        self._log.info("the candidate begins anew", rows=position or 0)
        self._shadows.begin_anew()
        shadow.begin()

    def write(self, taken: Taken, positions: Mapping[Partition, int]) -> int:
        """Write what was captured, and collect what is old; returns the bytes of the live engine's state.

        Raises:
            StorageFailed: it could not be written.
        """
        offsets: dict[str, dict[int, int]] = {}
        for (topic, number), offset in sorted(positions.items()):
            offsets.setdefault(topic, {})[number] = offset
        state = taken.capture.write()
        point("packed")
        stands = taken.position, offsets, taken.alerts, taken.counters, taken.watermark
        if taken.shadow is not None and self._shadow_origin is not None:  # first: it is only used beside the other
            self._shadows.write(Checkpoint(taken.shadow.write(), self._shadow_origin, *stands))
            self._shadows.collect()
        self._ours.write(Checkpoint(state, self._origin, *stands))
        point("checkpointed")
        self._ours.collect()
        return len(state)


def _origin_of(source: KafkaSource, engine: Engine) -> Origin:
    model = "" if engine.model is None else engine.model.sha256
    return Origin(source.cluster_id(), source.topic_ids(), engine.fingerprint, model)


def _checkpoints(settings: ServiceSettings, scope: str) -> Checkpoints:
    wish = settings.state
    access = None if wish.s3 is None else Access(**wish.s3.model_dump())
    key = None if wish.hmac_key_file is None else read_key(wish.hmac_key_file)
    return Checkpoints(store_of(wish.url, access), scope, wish.keep, key)

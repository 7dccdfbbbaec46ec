"""State and where it stands in the input, as one: after a crash the service goes on from the newest whole checkpoint.

A checkpoint is two objects of a store, under names that sort by age::

    SCOPE/GENERATION-POSITION-DIGEST.state      `Engine.snapshot`, as it is
    SCOPE/GENERATION-POSITION-DIGEST.manifest   what belongs to it; written last, so that one that exists is whole

A manifest is a line with its format, a line with the digest of all the rest (SHA-256, or HMAC-SHA-256 when there is a
key), and JSON. Nothing is parsed before its digest was compared. DIGEST is of the object itself: two writers at the
same position spoil nothing, since equal names mean equal bytes. Who starts without memory although there are
checkpoints begins a generation, which is newer than all before, however few rows it has seen.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import detector
from detector.errors import ConfigError, ForeignCheckpoint, NoValidCheckpoint
from detector.state.stores import Store, Stored, checked

FORMAT: Final = 1
KEEP: Final = 3
MANIFEST_LIMIT: Final = 1 << 20  # bytes; 10,000 partitions take a third of it
STATE_LIMIT: Final = 4 << 30  # bytes; the largest tables of the default settings take 0.8 GB before compression
KEY_BYTES: Final = 32  # a key is no shorter than the digest (RFC 2104 section 3)
_MAGIC: Final = b"eastwest checkpoint, format "
_NAME: Final = re.compile(r"\d{6}-\d{20}-[0-9a-f]{16}\.(manifest|state)")
_SHOWN: Final = 5  # reasons in an error's message
_COLD: Final = "allow a cold start, which begins without what was learned"
_ANEW: Final = "allow new topics, which are read from where settings say, with what was learned"


class Migration(NamedTuple):
    """From one format to the next; both functions look at nothing but their argument."""

    manifest: Callable[[dict[str, Any]], dict[str, Any]]
    state: Callable[[bytes], bytes]


MIGRATIONS: Final[dict[int, Migration]] = {}
"""By K: from format K to K + 1."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a state was made from; it must be the same where it is used.

    Args:
        cluster: Kafka's cluster id.
        topics: topic id by topic; a topic that was deleted and made again has another.
        fingerprint: of the configuration, see `snapshot.fingerprint`.
        model: SHA-256 of the model that was begun with, empty when there was none; part of the fingerprint, too.
    """

    cluster: str
    topics: Mapping[str, str]
    fingerprint: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A state and where it stands.

    Args:
        state: `Engine.snapshot`.
        origin: what it was made from.
        position: grows from checkpoint to checkpoint: rows seen so far.
        offsets: next offset to read, by topic and partition.
        outbox: number of the next record that the engine tells.
        counters: rows so far, by what became of them.
        watermark: observation time up to which rows were scored, µs; None before the first.
    """

    state: bytes = field(repr=False)
    origin: Origin
    position: int
    offsets: Mapping[str, Mapping[int, int]]
    outbox: int
    counters: Mapping[str, int] = field(default_factory=dict)
    watermark: int | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was found.

    Args:
        checkpoint: to go on from; None = begin at the beginning.
        refused: checkpoints that cannot be used, and why. To be told loudly.
        outbox_lost: records before the checkpoint that the outbox no longer has and that will not be made again.
    """

    checkpoint: Checkpoint | None
    refused: list[str]
    outbox_lost: int = 0


_Count = Annotated[int, Field(ge=0)]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    detector: str
    scope: str
    cluster: str
    topics: dict[str, str]
    fingerprint: str
    model: str
    position: _Count
    offsets: dict[str, dict[_Count, _Count]]
    outbox: _Count
    counters: dict[str, int]
    watermark: int | None
    state_bytes: _Count
    state_sha256: _Sha256


class _Place(NamedTuple):
    """What names sort by."""

    generation: int
    position: int


class _Read(NamedTuple):
    """A manifest that is what was written, in today's format, and the format it was written in."""

    name: str
    format: int
    manifest: _Manifest

    @property
    def place(self) -> _Place:
        return _place(self.name)


class Checkpoints:
    """The checkpoints of one service in a store.

    Args:
        store: where they are.
        scope: whose they are: a folder of the store for this service alone.
        keep: how many whole ones `collect` leaves.
        key: signs them (`read_key`); with a key, only those signed with it are used.
        state_limit: bytes of the largest state that is read.
    """

    def __init__(
        self, store: Store, scope: str, keep: int = KEEP, key: bytes | None = None, state_limit: int = STATE_LIMIT
    ) -> None:
        if keep < 1:
            raise ValueError("at least one checkpoint is kept")
        self.store, self.scope, self.keep, self.state_limit = store, checked(scope), keep, state_limit
        self._key = key
        self._last: _Place | None = None  # where the next one may stand at the earliest
        self._whole: dict[str, int] = {}  # manifests that were verified: the outbox's number

    @property
    def outbox_floor(self) -> int:
        """Records from this number on may be made again after a crash; the outbox keeps them to compare."""
        return min(self._whole.values(), default=0)

    # --- reading ---

    def latest(
        self,
        expected: Origin,
        outbox_end: int | None = None,
        allow_cold_start: bool = False,
        allow_new_topics: bool = False,
    ) -> Loaded:
        """The newest whole checkpoint; to be called once, before `write`.

        Args:
            expected: what the state will be used with.
            outbox_end: how many records the outbox has; a checkpoint that needs more of them comes after all that do
                not, since going on from an older one makes what was lost again.
            allow_cold_start: begin without a state when there are checkpoints and none can be used.
            allow_new_topics: one of topics that were deleted and made again, or of another cluster, is used too; its
                offsets of those mean nothing.

        Raises:
            ForeignCheckpoint: it was made with something else than expected.
            NoValidCheckpoint: there are some, and all are damaged.
            StorageFailed: the store cannot be read.
        """
        manifests = self._entries(".manifest")
        generation = max((_place(entry.name).generation for entry in manifests), default=0)
        refused: list[str] = []
        try:
            checkpoint = self._newest(manifests, expected, outbox_end, refused, allow_new_topics)
            if manifests and not checkpoint:
                raise NoValidCheckpoint(_none_valid(refused))
        except (ForeignCheckpoint, NoValidCheckpoint) as problem:
            if not allow_cold_start:
                raise
            refused.append(str(problem))
            checkpoint = None
        if not checkpoint:
            self._last = _Place(generation + bool(manifests), 0)
            return Loaded(None, refused)
        self._last = _Place(generation, checkpoint.position)
        lost = 0 if outbox_end is None else max(0, checkpoint.outbox - outbox_end)
        return Loaded(checkpoint, refused, lost)

    def _newest(
        self,
        manifests: list[Stored],
        expected: Origin,
        outbox_end: int | None,
        refused: list[str],
        allow_new_topics: bool,
    ) -> Checkpoint | None:
        """The one to go on from; adds to ``refused``."""
        found = self._whole_ones(manifests, refused)
        found = [read for read in found if read.place.generation == found[0].place.generation]
        # The sort is stable: those that the outbox reaches first, and the newest of them first.
        for read in sorted(found, key=lambda read: outbox_end is not None and read.manifest.outbox > outbox_end):
            self._require_own(read, expected, allow_new_topics)
            try:
                return _checkpoint(read.manifest, self._state(read))
            except _Damaged as problem:
                refused.append(f"{read.name}: {problem}")
                del self._whole[read.name]
        return None

    def _whole_ones(self, manifests: list[Stored], refused: list[str]) -> list[_Read]:
        """All manifests that are what was written, newest first; adds to ``refused``."""
        found: list[_Read] = []
        for entry in reversed(manifests):
            try:
                found.append(self._manifest(entry))
            except _Damaged as problem:
                refused.append(f"{entry.name}: {problem}")
            except ForeignCheckpoint:
                if not found:  # behind one that can be read it is history
                    raise
        self._whole = {read.name: read.manifest.outbox for read in found}
        return found

    def _manifest(self, entry: Stored) -> _Read:
        """
        Raises:
            _Damaged: it is not what was written.
            ForeignCheckpoint: it has a format that this version does not read.
        """
        first, body = self._verified(self._get(entry.name, MANIFEST_LIMIT))
        number, facts = _parsed(first, body)
        steps = range(number, FORMAT)
        if number > FORMAT or not MIGRATIONS.keys() >= set(steps):
            raise ForeignCheckpoint(
                f"{entry.name} has format {number}, this version reads {sorted({*MIGRATIONS, FORMAT})}: run the "
                f"version that wrote it, or {_COLD}"
            )
        for step in steps:
            facts = MIGRATIONS[step].manifest(facts)
        try:
            manifest = _Manifest.model_validate_json(orjson.dumps(facts))
        except ValidationError as problem:
            raise _Damaged(f"the manifest is not as it should be: {problem.errors()[0]['msg']}") from problem
        if manifest.position != _place(entry.name).position:
            raise _Damaged("the manifest stands under another's name")
        return _Read(entry.name, number, manifest)

    def _verified(self, content: bytes) -> tuple[bytes, bytes]:
        """First line and JSON of a manifest that is what was written, whatever its format."""
        first, _, rest = content.partition(b"\n")
        digest, _, body = rest.partition(b"\n")
        if digest.startswith(b"hmac-") and not self._key:
            raise _Damaged("it is signed, and no key is set")
        if digest.startswith(b"sha256") and self._key:
            raise _Damaged("it is not signed, and a key is set")
        if not first.startswith(_MAGIC) or not hmac.compare_digest(digest, self._digest(first, body)):
            raise _Damaged("the manifest is damaged, or was signed with another key")
        return first, body

    def _digest(self, first: bytes, body: bytes) -> bytes:
        if self._key is None:
            return b"sha256 " + hashlib.sha256(first + b"\n" + body).hexdigest().encode()
        return b"hmac-sha256 " + hmac.digest(self._key, first + b"\n" + body, "sha256").hex().encode()

    def _require_own(self, read: _Read, expected: Origin, allow_new_topics: bool) -> None:
        manifest = read.manifest
        pairs = [
            ("the service", manifest.scope, self.scope, _COLD),
            ("the model", manifest.model, expected.model, _COLD),
            ("the configuration or version", manifest.fingerprint, expected.fingerprint, _COLD),
        ]
        if not allow_new_topics:
            pairs.append(("the cluster", manifest.cluster, expected.cluster, _ANEW))
            pairs += [
                (f"topic {topic} (deleted and made again?)", manifest.topics[topic], expected.topics[topic], _ANEW)
                for topic in sorted(manifest.topics.keys() & expected.topics.keys())
            ]
        for what, found, wanted, otherwise in pairs:
            if found != wanted:
                raise ForeignCheckpoint(
                    f"{read.name} belongs to something else: {what} was {found!r} and is {wanted!r} "
                    f"(written by eastwest {manifest.detector}); set it back, name another place for checkpoints, "
                    f"or {otherwise}"
                )

    def _state(self, read: _Read) -> bytes:
        """The state of a manifest, in today's format."""
        manifest = read.manifest
        if manifest.state_bytes > self.state_limit:
            raise _Damaged(f"its state has {manifest.state_bytes} bytes, more than the limit of {self.state_limit}")
        state = self._get(self._name(read.place, manifest.state_sha256, "state"), manifest.state_bytes)
        if hashlib.sha256(state).hexdigest() != manifest.state_sha256:
            raise _Damaged("the state is damaged: it does not match its SHA-256")
        for step in range(read.format, FORMAT):
            state = MIGRATIONS[step].state(state)
        return state

    def _get(self, name: str, limit: int) -> bytes:
        try:
            content = self.store.get(name, limit + 1)
        except FileNotFoundError:
            raise _Damaged(f"{name} is missing") from None
        if len(content) > limit:
            raise _Damaged(f"{name} is longer than {limit} bytes")
        return content

    # --- writing ---

    def write(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint. It counts from when this returns; after an error the ones before still do.

        Raises:
            StorageFailed: it could not be written.
            ValueError: it stands before the one that was loaded or written last, or `latest` was not called.
        """
        if self._last is None or checkpoint.position < self._last.position:
            raise ValueError(f"a checkpoint at {checkpoint.position} cannot come after {self._last}")
        place = self._last._replace(position=checkpoint.position)
        digest = self._put_state(place, checkpoint.state)
        self._put_manifest(place, checkpoint, digest)
        self._last = place

    def _put_state(self, place: _Place, state: bytes) -> str:
        digest = hashlib.sha256(state).hexdigest()
        self.store.put(self._name(place, digest, "state"), state)
        return digest

    def _put_manifest(self, place: _Place, checkpoint: Checkpoint, state_sha256: str) -> None:
        manifest = asdict(checkpoint.origin) | {
            "detector": detector.__version__,
            "scope": self.scope,
            "position": checkpoint.position,
            "offsets": checkpoint.offsets,
            "outbox": checkpoint.outbox,
            "counters": checkpoint.counters,
            "watermark": checkpoint.watermark,
            "state_bytes": len(checkpoint.state),
            "state_sha256": state_sha256,
        }
        first = b"%s%d" % (_MAGIC, FORMAT)
        body = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
        content = b"\n".join([first, self._digest(first, body), body])
        if len(content) > MANIFEST_LIMIT:
            raise ValueError(f"a manifest of {len(content)} bytes could not be read again")
        name = self._name(place, hashlib.sha256(content).hexdigest(), "manifest")
        self.store.put(name, content)
        self._whole[name] = checkpoint.outbox

    def begin_anew(self) -> None:
        """What is written from now on is newer than all that is there, however few rows it has seen; after `latest`."""
        if self._last is not None:
            self._last = _Place(self._last.generation + 1, 0)

    def collect(self) -> None:
        """Remove all that is older than the `keep` newest whole checkpoints.

        What is newer stays, whatever it is: it may be half of a checkpoint that another is writing.

        Raises:
            StorageFailed: some are left.
        """
        manifests = self._entries(".manifest")
        kept = [entry for entry in manifests if entry.name in self._whole][-self.keep :]
        if len(kept) < self.keep:
            return
        oldest = _place(kept[0].name)
        for entry in manifests + self._entries(".state"):  # first what makes a state count
            if _place(entry.name) < oldest:
                self.store.delete(entry.name)
                self._whole.pop(entry.name, None)

    # --- names ---

    def _entries(self, suffix: str) -> list[Stored]:
        """Our objects with a suffix, oldest first."""
        return [
            entry
            for entry in self.store.entries(self.scope)
            if entry.name.endswith(suffix) and _NAME.fullmatch(entry.name.rpartition("/")[2])
        ]

    def _name(self, place: _Place, digest: str, suffix: str) -> str:
        return f"{self.scope}/{place.generation:06d}-{place.position:020d}-{digest[:16]}.{suffix}"


class _Damaged(Exception):
    """A checkpoint is not what was written; the one before it may be."""


def read_key(file: Path) -> bytes:
    """The key that signs checkpoints: all of the file but white space at its ends.

    Raises:
        ConfigError: it cannot be read, or is too short to be one.
    """
    try:
        key = file.read_bytes().strip()
    except OSError as problem:
        raise ConfigError(str(file), "", f"cannot read the key of checkpoints: {problem.strerror}") from problem
    if len(key) < KEY_BYTES:
        raise ConfigError(str(file), "", f"a key of checkpoints has {KEY_BYTES} bytes or more, this has {len(key)}")
    return key


def _parsed(first: bytes, body: bytes) -> tuple[int, Any]:
    """Format and content of a manifest; its digest may have been made by somebody who does not know how they look.

    Raises:
        _Damaged: they are none.
    """
    try:
        return int(first.removeprefix(_MAGIC)), orjson.loads(body)
    except ValueError as problem:
        raise _Damaged(f"the manifest is not as it should be: {problem}") from problem


def _place(name: str) -> _Place:
    generation, position, _ = name.rpartition("/")[2].split("-")
    return _Place(int(generation), int(position))


def _checkpoint(manifest: _Manifest, state: bytes) -> Checkpoint:
    origin = Origin(manifest.cluster, manifest.topics, manifest.fingerprint, manifest.model)
    return Checkpoint(
        state, origin, manifest.position, manifest.offsets, manifest.outbox, manifest.counters, manifest.watermark
    )


def _none_valid(refused: list[str]) -> str:
    more = len(refused) - _SHOWN
    return (
        f"none of {len(refused)} checkpoints can be used: {'; '.join(refused[:_SHOWN])}"
        f"{f'; and {more} more' if more > 0 else ''}; restore them from a copy, or {_COLD}"
    )

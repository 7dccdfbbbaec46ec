"""Fuzz targets of all that is read and is no log: batches of Kafka, our own files, and files that people write."""

import hashlib
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32c

from detector.assets.plant import load_plant
from detector.backtest.labels import load_labels
from detector.config import load_settings
from detector.errors import ConfigError, MissingLibrary, StateMismatch, UnreadableBatch
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.models.card import card
from detector.records import Block
from detector.service.loading import load_service_settings
from detector.service.settings import ServiceSettings
from detector.sinks.cursors import Cursor
from detector.sinks.outbox import Outbox
from detector.sinks.segments import HEADER, Record, frame
from detector.sources import runs
from detector.sources.compression import GZIP, ZSTD, plain
from detector.sources.framing import lines, objects
from detector.sources.kafka_merge import Damaged, Partition
from detector.sources.record_batches import Records, read_records
from detector.state.bundle import LIMIT, BundleRefused, Manifest, Training, packed, unpacked
from detector.state.checkpoints import Checkpoint, Checkpoints, Origin
from detector.state.snapshot import Capture, read
from detector.state.stores import Stored

ROOM = 1 << 20  # bytes that a batch may take
CRC_AT, SUMMED_FROM, BATCH_MIN = 17, 21, 61  # of a record batch of magic 2
PREFIX = struct.Struct(">qi")
FINGERPRINT = "that of tests"
ORIGIN = Origin("a cluster", {"conn": "an id"}, FINGERPRINT)
POSITION = 7
RAW = Partition("conn", 0)


# --- Kafka ---


def check_batches(data: bytes) -> None:
    """As they are, and with checksums that match, which alone lead behind them."""
    for response in (data, summed(data)):
        found = batches(response)
        again = batches(response)
        assert type(found) is type(again)
        if isinstance(found, Records):
            assert isinstance(again, Records)
            assert contents(found) == contents(again)
            check_records(found)
        else:
            assert str(found) == str(again)


def batches(response: bytes) -> Records | Exception:
    try:
        return read_records(response, 0, limit=ROOM)
    except (UnreadableBatch, MissingLibrary) as problem:
        return problem


def contents(found: Records) -> list[tuple[int, int, bytes]]:
    return [
        (offset, time, found.buffer[start : start + max(length, 0)])
        for offset, time, start, length in zip(
            *(column.tolist() for column in (found.offsets, found.timestamps, found.starts, found.lengths)), strict=True
        )
    ]


def check_records(found: Records) -> None:
    there = found.lengths >= 0
    assert all(left < right for left, right in pairwise(found.offsets.tolist()))
    assert (found.starts[there] >= 0).all()
    assert (found.starts[there] + found.lengths[there] <= len(found.buffer)).all()
    assert not len(found) or found.next_offset > found.offsets[-1] >= 0
    assert sum(len(block.lines) for block in found.blocks("fuzz:0")) == np.count_nonzero(there)


def summed(response: bytes) -> bytes:
    """Each batch with the checksum of what it holds now."""
    mended, at = bytearray(response), 0
    while at + BATCH_MIN <= len(mended):
        _, length = PREFIX.unpack_from(mended, at)
        end = at + PREFIX.size + length
        if length < BATCH_MIN - PREFIX.size or end > len(mended):
            break
        mended[at + CRC_AT : at + SUMMED_FROM] = struct.pack(">I", calc_crc32c(bytes(mended[at + SUMMED_FROM : end])))
        at = end
    return bytes(mended)


def built(compression: int = 0, values: tuple[bytes | None, ...] = (b'{"ts":1}', None, b"", b"x" * 70)) -> bytes:
    builder = DefaultRecordBatchBuilder(2, compression, False, -1, -1, -1, ROOM)
    for number, value in enumerate(values):
        builder.append(number, 1_772_409_700_000 + number, b"k" if value is None else None, value, [("h", b"v")])
    return bytes(builder.build())


def batch_seeds() -> list[bytes]:
    return [built(), built(GZIP), built(ZSTD), built() + built(values=(b"later",)), built()[:-1]]


def check_compressed(data: bytes) -> None:
    """The first byte is the codec's number."""
    for _ in range(2):
        with suppress(ValueError, MissingLibrary):
            assert len(plain(data[0] % 8, data[1:], ROOM)) <= ROOM


def compressed_seeds() -> list[bytes]:
    return [bytes([codec]) + built(codec)[BATCH_MIN:] for codec in range(1, 5)]


def check_runs(data: bytes) -> None:
    """What other processes decoded: refused, or rows of records that are there."""
    said = []
    for _ in range(2):
        try:
            run = runs.decode(data, RAW)
        except runs.NotARun as problem:
            said.append(str(problem).encode())
            continue
        said.append(runs.encode(run))
        assert run.first <= run.next_offset
        assert (np.diff(run.offsets) > 0).all()
        positions = [*run.decoded.flows["position"], *run.decoded.operations["position"]]
        assert {*positions, *(reject.position for reject in run.decoded.rejects)} <= {*run.offsets.tolist()}
    assert said[0] == said[1]


def run_seeds() -> list[bytes]:
    ends = b'"id.orig_h":"10.0.0.1","id.orig_p":1,"id.resp_h":"10.0.0.2","id.resp_p":2'
    flow = b'{"_path":"conn","ts":1,"uid":"C1",%s,"proto":"tcp"}' % ends
    act = b'{"_path":"ntlm","ts":2,"uid":"C2",%s,"username":"u"}' % ends
    lines = [flow, b"{", act]
    decoded = Decoder("conn:0", Context()).decode(Block("conn:0", 5, lines))
    decoded.rejects = [replace(reject, raw=b"", detail="", letter=b"{}") for reject in decoded.rejects]
    offsets = np.arange(5, 8)
    full = runs.Run(RAW, 5, 8, offsets, offsets * 1000, decoded, Damaged(3, 5, "checksum", 1), False, 9000)
    nothing = np.empty(0, np.int64)
    return [runs.encode(full), runs.encode(runs.Run(RAW, 8, 9, nothing, nothing, frontier=10))]


# --- files ---


def check_framing(data: bytes) -> None:
    """How a stream is cut into chunks has no say."""
    by_threes = partial(lines, most=3)
    for frames in (by_threes, objects):
        whole = [record for part in frames([data]) for record in part]
        for size in (1, 7):
            chunks = [data[at : at + size] for at in range(0, len(data), size)]
            assert [record for part in frames(chunks) for record in part] == whole
    assert b"\n".join(line for part in by_threes([data]) for line in part) == data.removesuffix(b"\n")


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def check_outbox(data: bytes) -> None:
    """A folder with any segment can be opened, read, written to, and opened again with what was read."""
    with folder() as place:
        (place / f"{0:020d}.segment").write_bytes(data)
        with Outbox(place) as outbox:
            stored = outbox.read(0, 1000)
            assert len(stored) == outbox.end
            outbox.append("alert", b"one more")
            outbox.sync()
        with Outbox(place) as outbox:
            assert outbox.read(0, 1000) == [*stored, Record(len(stored), "alert", b"one more")]
            assert outbox.counts.torn_bytes == outbox.counts.damaged_bytes == 0


def segment() -> bytes:
    return HEADER + b"".join(frame(Record(number, "alert", b'{"n":%d}' % number)) for number in range(3))


def check_cursor(data: bytes) -> None:
    """Whatever is in its file, a reader has a place to go on from."""
    number = data.split(b"\n")[1] if b"\n" in data else data
    for content in (data, b"eastwest cursor, format 1\n%s\n%08x\n" % (number, zlib.crc32(number))):
        with folder() as place:
            (place / "cursors").mkdir()
            (place / "cursors" / "siem").write_bytes(content)
            done = Cursor(place, "siem").done
            assert done >= 0
            assert Cursor(place, "siem").done == done


def check_snapshot(data: bytes) -> None:
    """Only what was written is read."""
    try:
        arrays, facts = read(data, FINGERPRINT)
    except StateMismatch:
        return
    assert Capture.of(arrays, facts, FINGERPRINT).write() == data


def snapshot() -> bytes:
    return Capture.of({"counts": np.arange(5, dtype=np.int64)}, {"rows": 5}, FINGERPRINT).write()


class Memory:
    """A store of objects."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, name: str, content: bytes) -> None:
        self.objects[name] = content

    def get(self, name: str, limit: int) -> bytes:
        if name not in self.objects:
            raise FileNotFoundError(name)
        return self.objects[name][:limit]

    def entries(self, folder: str) -> list[Stored]:
        return [Stored(name, len(self.objects[name])) for name in sorted(self.objects) if name.startswith(folder + "/")]

    def delete(self, name: str) -> None:
        self.objects.pop(name, None)


def check_bundle(data: bytes) -> None:
    """As it is, and with a digest that matches, which alone leads behind it."""
    first, _, third, body = (*data.split(b"\n", 3), b"", b"", b"")[:4]
    second = b"sha256 " + hashlib.sha256(first + b"\n" + body).hexdigest().encode()
    for content in (data, b"\n".join([first, second, third, body])):
        try:
            bundle = unpacked(content)
        except BundleRefused:
            continue
        assert sum(array.nbytes for array in bundle.arrays.values()) <= LIMIT
        card(bundle)


def small_bundle() -> bytes:
    """With little in it: what is behind the manifest is what matters."""
    training = Training(first="", last="", days=1.0, rows=1, hosts=1, file_count=0, files=[], data_sha256="0" * 64,
                        plant_sha256=None)  # fmt: skip
    manifest = Manifest(
        name="small", detector="0", description="", models=["forest"], features={"forest": ["p_structure"]},
        strata=["act, OT"], settings={}, training=training, metrics={"a": {"alerts": 1.0}}, libraries={}, arrays=[],
    )  # fmt: skip
    return packed(manifest, {"scores": np.ones((2, 3)), "child": np.arange(4)})


def check_manifest(data: bytes) -> None:
    """As it is, and with a digest that matches: a checkpoint, or an error that says why there is none."""
    first, _, rest = data.partition(b"\n")
    body = rest.partition(b"\n")[2]
    digest = b"sha256 " + hashlib.sha256(first + b"\n" + body).hexdigest().encode()
    for content in (data, b"\n".join([first, digest, body])):
        store = written()
        [name] = (name for name in store.objects if name.endswith(".manifest"))
        store.objects[name] = content
        with suppress(StateMismatch):
            found = Checkpoints(store, "service").latest(ORIGIN).checkpoint
            assert found is not None
            assert found.position == POSITION


def written() -> Memory:
    store = Memory()
    checkpoints = Checkpoints(store, "service")
    checkpoints.latest(ORIGIN)
    checkpoints.write(Checkpoint(b"the state", ORIGIN, POSITION, {"conn": {0: 3, 1: 4}}, 2, {"scored": 7}, 10**15))
    return store


def manifests() -> list[bytes]:
    return [content for name, content in written().objects.items() if name.endswith(".manifest")]


def check_file(load: Callable[[Path], object], data: bytes) -> None:
    """Read, or refused with a reason that names the file; the same twice."""
    with folder() as place:
        file = place / "file"
        file.write_bytes(data)
        said = []
        for _ in range(2):
            try:
                said.append(repr(load(file)))
            except ConfigError as problem:
                said.append(str(problem))
                assert str(file) in said[-1]
        assert said[0] == said[1]


def settings_of_service(path: Path) -> ServiceSettings:
    return load_service_settings(path, {})


PLANT = b"""\
timezone: Europe/Berlin
zones:
  - {name: office, purdue_level: 4, cidrs: [10.1.0.0/16, "fd00::/8"]}
  - {name: cell, purdue_level: 1, cidrs: [10.9.0.0/24]}
conduits:
  - {from: office, to: cell, services: [https], operations: any}
vendors:
  - {account: acme, hosts: [10.1.2.3], via: [10.1.0.9], windows: [{day: mon, from: 09:00, to: "11:00"}]}
maintenance_windows:
  - {zone: cell, station: 10.9.0.5, day: sun, from: 22:00, to: "02:00"}
known_servers: {dns: [10.1.0.53]}
"""

SERVICE = b"""\
kafka:
  bootstrap: [one:9092, two:9092]
  topics: [{name: zeek-conn, format: zeek.conn}, flows]
  security: {protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: us, password_file: /secret}
engine: {alerts_per_day: 20, timezone: UTC}
state: {url: "s3://bucket/place", every_seconds: 30}
alerts: {sinks: [{type: file, path: alerts.ndjson}, {type: kafka, topic: alerts}, {type: console}]}
dead_letters: {topic: dead}
"""

ENGINE = b"alerts_per_day: 20\ntimezone: UTC\ncolumns: {ts: Date, orig_h: Source}\n"


LABELS = (
    b"campaign,start,end,src,dst,technique\n"
    b"one,2026-03-02T07:00:00Z,1772440000.5,10.1.0.7,fd00::9,T1021.002\n"
    b"two,,,10.1.0.7,,\n"
)

TARGETS = {
    "record batches": (check_batches, batch_seeds),
    "compressed batches": (check_compressed, compressed_seeds),
    "runs of rows": (check_runs, run_seeds),
    "framing": (
        check_framing,
        lambda: [b'{"a":1}\n\n{"a":\n2}\r\n', b'[\n  {"a": "}\\""},\n  {"a": 2}\n]\n', b'{"a":1},{"a":2}'],
    ),
    "outbox segment": (check_outbox, lambda: [segment(), segment()[:-3], HEADER]),
    "outbox cursor": (check_cursor, lambda: [b"eastwest cursor, format 1\n12\n%08x\n" % zlib.crc32(b"12")]),
    "snapshot": (check_snapshot, lambda: [snapshot()]),
    "checkpoint manifest": (check_manifest, manifests),
    "model bundle": (check_bundle, lambda: [small_bundle()]),
    "plant file": (partial(check_file, load_plant), lambda: [PLANT]),
    "labels file": (partial(check_file, load_labels), lambda: [LABELS]),
    "settings of the service": (partial(check_file, settings_of_service), lambda: [SERVICE]),
    "settings of the backtest": (partial(check_file, load_settings), lambda: [ENGINE]),
}

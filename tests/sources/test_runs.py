"""Runs of rows: what was decoded comes back as it was, whole or in parts; bytes that are none are refused."""

import random
from collections import Counter
from itertools import pairwise

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block, Decoded, Reject, merge
from detector.sources import runs
from detector.sources.kafka_merge import Damaged, Partition
from detector.sources.runs import NotARun, Run, decode, encode

AT = Partition("conn", 3)
SOURCE = "conn:3"
COUNT = 60


def line(number: int) -> bytes:
    if number % 11 == 5:
        return b"{"
    ends = {"id.orig_h": f"10.0.0.{number % 5}", "id.orig_p": 1024 + number, "id.resp_h": "10.1.0.1", "id.resp_p": 445}
    about = {"_path": "ntlm", "username": f"ü{number}"} if number % 3 else {"_path": "conn", "proto": "tcp"}
    return orjson.dumps({"ts": 1.7e9 + number, "uid": f"C{number}", **ends, **about})


@pytest.fixture(scope="module")
def run() -> Run:
    """One with some of everything; offsets have holes."""
    decoded = Decoder(SOURCE, Context("UTC", None)).decode(Block(SOURCE, 0, [line(n) for n in range(COUNT)]))
    offsets = 100 + 2 * np.arange(COUNT)
    for name in ("flows", "operations"):
        frame = getattr(decoded, name)
        setattr(decoded, name, frame.with_columns(position=100 + 2 * frame["position"]))
    decoded.rejects = [
        Reject(SOURCE, 100 + 2 * each.position, each.reason, letter=b"a letter") for each in decoded.rejects
    ]
    decoded.filtered = Counter({("kafka", "tombstone"): 2})
    decoded.notes = Counter({("zeek.conn", "time"): 1})
    assert min(decoded.flows.height, decoded.operations.height, len(decoded.rejects)) > 3
    times = 1_700_000_000_000 + np.arange(COUNT)
    return Run(AT, 97, 230, offsets, times, decoded, Damaged(97, 99, "checksum", 2), False, 1_700_000_000_500)


def same(one: Decoded, other: Decoded) -> bool:
    frames = one.flows.equals(other.flows) and one.operations.equals(other.operations)
    return frames and (one.rejects, one.filtered, one.notes) == (other.rejects, other.filtered, other.notes)


def test_what_was_sent_comes_back(run):
    content = encode(run)
    found = decode(content, AT)
    assert same(found.decoded, run.decoded)
    assert (found.first, found.next_offset, found.cut, found.frontier) == (97, 230, False, 1_700_000_000_500)
    assert found.damaged == run.damaged
    assert found.offsets.tolist() == run.offsets.tolist()
    assert found.timestamps.tolist() == run.timestamps.tolist()
    assert encode(found) == content


def test_a_word_without_records_is_short():
    none = np.empty(0, np.int64)
    content = encode(Run(AT, 7, 7, none, none, cut=True))
    assert len(content) < 300
    found = decode(content, AT)
    assert (len(found), found.first, found.next_offset, found.cut, found.frontier) == (0, 7, 7, True, None)


@given(st.lists(st.integers(1, COUNT - 1), unique=True, max_size=6))
def test_parts_are_the_whole(run, cuts):
    bounds = [0, *sorted(cuts), COUNT]
    parts = [run.part(start, stop) for start, stop in pairwise(bounds)]
    assert same(merge(part.decoded for part in parts), run.decoded)
    assert [offset for part in parts for offset in part.offsets.tolist()] == run.offsets.tolist()
    assert parts[0].first == 97
    assert parts[-1].next_offset == 230
    assert [part.damaged for part in parts] == [run.damaged, *[None] * len(cuts)]


@pytest.mark.parametrize("offset", [97, 98, 100, 101, 150, 219, 229, 230])
def test_what_is_known_already_is_left_out(run, offset):
    rest = run.beyond(offset)
    assert rest.offsets.tolist() == [at for at in run.offsets.tolist() if at >= offset]
    known = run.decoded
    positions = [*known.flows["position"], *known.operations["position"], *(each.position for each in known.rejects)]
    counted = 2 if offset <= 100 else 0  # with the first record
    assert rest.decoded.rows == sum(at >= offset for at in positions) + counted
    assert rest.next_offset == 230


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rows": 2}, "another version"),
        ({"schemas": "0"}, "another version"),
        ({"topic": "dns"}, "another partition"),
        ({"partition": 4}, "another partition"),
        ({"after": 5}, "sizes do not fit"),
        ({"first": -1}, "greater than or equal"),
        ({"first": 120}, "out of place"),
        ({"after": 200}, "out of place"),
        ({"sizes": [0, 0, 0, 0]}, "sizes do not fit"),
        ({"more": 1}, "Extra inputs"),
        ({"frontier": "now"}, "valid integer"),
    ],
)
def test_what_is_no_run_of_ours_is_refused(run, changes, said):
    head, _, body = encode(run).partition(b"\n")
    with pytest.raises(NotARun, match=said):
        decode(orjson.dumps(orjson.loads(head) | changes) + b"\n" + body, AT)


@pytest.mark.parametrize("content", [b"", b"\n", b"{}", b"[]\n", b"\xff" * 100, b'{"rows":1}' * 200_000])
def test_rubbish_is_refused(content):
    with pytest.raises(NotARun):
        decode(content, AT)


def test_compressed_batches_are_refused(run, monkeypatch):
    options = pa.ipc.IpcWriteOptions(compression="zstd")

    def compressed(frame):
        [batch] = frame.to_arrow(compat_level=runs._OLDEST).combine_chunks().to_batches()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
            writer.write_batch(batch)
        reader = pa.ipc.MessageReader.open_stream(sink.getvalue())
        reader.read_next_message()
        return reader.read_next_message().serialize().to_pybytes()

    monkeypatch.setattr(runs, "_message", compressed)
    with pytest.raises(NotARun, match="compressed"):
        decode(encode(run), AT)


def test_rows_of_no_record_are_refused(run):
    none = np.empty(0, np.int64)
    with pytest.raises(NotARun, match="no record"):
        decode(encode(Run(AT, 97, 230, none, none, run.decoded)), AT)


def test_damaged_bytes_are_refused_or_harmless(run):
    content, chance = encode(run), random.Random(7)
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 2, 8))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            found = decode(bytes(damaged), AT)
        except NotARun:
            continue
        found.decoded.flows.to_dicts()  # every value can be read
        found.decoded.operations.to_dicts()
        found.part(1, len(found))

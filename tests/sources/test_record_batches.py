"""Record batches are read as kafka-python's consumer reads them, and nothing damaged is read as something else."""

import gzip
import struct
import tracemalloc
from contextlib import suppress
from types import SimpleNamespace

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from kafka import codec as libraries
from kafka.consumer.fetcher import Fetcher, IsolationLevel
from kafka.record import MemoryRecords, MemoryRecordsBuilder
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.util import calc_crc32, calc_crc32c, encode_varint
from kafka.structs import TopicPartition

from detector.errors import MissingLibrary, UnreadableBatch
from detector.sources import record_batches
from detector.sources.compression import GZIP, LZ4, SNAPPY, ZSTD, plain
from detector.sources.files import BLOCK_LINES
from detector.sources.record_batches import NO_TIMESTAMP, Records, read_records

NONE = 0
CODECS = [NONE, GZIP, SNAPPY, LZ4, ZSTD]
TIME = 1_760_000_000_000  # ms
HEADER = 61  # bytes before the records
OUTSIDE_CHECKSUM = {*range(8), *range(12, 16)}  # base offset, leader epoch
LINE = b'{"ts":1760000000.0,"id.orig_h":"10.0.0.1","id.resp_h":"10.0.0.2","id.resp_p":445}'


def batch(
    records,
    base=0,
    codec=NONE,
    *,
    deltas=None,
    attributes=0,
    producer=-1,
    last_delta=None,
    epoch=7,
    transactional=False,
):
    """A batch of magic 2 of (timestamp, key, value, headers), as a broker would hand it out."""
    builder = DefaultRecordBatchBuilder(2, codec, transactional, producer, 0, 0, 1 << 30)
    for delta, (timestamp, key, value, headers) in zip(deltas or range(len(records)), records, strict=True):
        builder.append(delta, timestamp, key, value, headers)
    made = builder.build()
    struct.pack_into(">q", made, 0, base)
    struct.pack_into(">i", made, 12, epoch)
    struct.pack_into(">h", made, 21, struct.unpack_from(">h", made, 21)[0] | attributes)
    if last_delta is not None:
        struct.pack_into(">i", made, 23, last_delta)
    return sealed(made)


def values(*lines, **how):
    return batch([(TIME + number, None, line, []) for number, line in enumerate(lines)], **how)


def sealed(made):
    """The batch with length and checksum set right."""
    made = bytearray(made)
    struct.pack_into(">i", made, 8, len(made) - 12)
    struct.pack_into(">I", made, 17, calc_crc32c(memoryview(made)[21:]))
    return bytes(made)


def with_body(body, records, codec=NONE):
    """A batch with these bytes for records."""
    made = bytearray(values(b"")[:HEADER])
    struct.pack_into(">h", made, 21, codec)
    struct.pack_into(">i", made, 23, max(records - 1, 0))
    struct.pack_into(">i", made, 57, records)
    return sealed(made + body)


def marker(base, producer, commit=False):
    """The control batch that ends a transaction."""
    key = struct.pack(">hh", 0, int(commit))
    return batch(
        [(TIME, key, struct.pack(">hi", 0, 0), [])], base, producer=producer, attributes=0x20, transactional=True
    )


def old(magic, codec, records, base=0):
    builder = MemoryRecordsBuilder(magic, codec, 1 << 30, offset=base)
    for timestamp, key, value, _ in records:
        builder.append(timestamp, key, value)
    builder.close()
    return bytes(builder.buffer())


def aborted(*pairs):
    return [SimpleNamespace(producer_id=producer, first_offset=first) for producer, first in pairs]


def kafkas(response, offset=0, transactions=None):
    """(rows, next offset, leader epoch) of kafka-python's consumer."""
    level = IsolationLevel.READ_UNCOMMITTED if transactions is None else IsolationLevel.READ_COMMITTED
    part = Fetcher.PartitionRecords(
        offset, TopicPartition("t", 0), MemoryRecords(response), None, None, True, level, transactions
    )
    rows = [
        (record.offset, NO_TIMESTAMP if record.timestamp is None else record.timestamp, record.value)
        for record in part.take()
    ]
    return rows, part.next_fetch_offset, part.leader_epoch


def rows_of(found: Records):
    ends = found.starts + found.lengths
    return [
        (offset, timestamp, None if length < 0 else found.buffer[start:end])
        for offset, timestamp, start, end, length in zip(
            *(column.tolist() for column in (found.offsets, found.timestamps, found.starts, ends, found.lengths)),
            strict=True,
        )
    ]


def ours(response, offset=0, transactions=None):
    found = read_records(response, offset, transactions)
    return rows_of(found), found.next_offset, found.leader_epoch


maybe_bytes = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.text(max_size=5), maybe_bytes), max_size=3)
record = st.tuples(st.integers(0, 1 << 45), maybe_bytes, maybe_bytes, headers)
batches = st.tuples(
    st.lists(record, min_size=1, max_size=12),
    st.sampled_from(CODECS),
    st.integers(0, 5),  # offsets missing before the batch
    st.lists(st.integers(1, 3), min_size=12, max_size=12),  # and between its records
    st.integers(0, 4),  # and behind them
    st.booleans(),  # the broker's time
)


def joined(parts):
    made, base = [], 0
    for records, codec, gap, steps, behind, append_time in parts:
        base += gap
        deltas = np.cumsum([0, *steps])[: len(records)].tolist()
        last = deltas[-1] + behind
        how = {"attributes": 0x08 * append_time, "deltas": deltas, "last_delta": last, "epoch": len(made)}
        made.append(batch(records, base, codec, **how))
        base += last + 1
    return made, base


# --- as kafka-python ---


@given(st.lists(batches, min_size=1, max_size=5), st.data())
def test_any_batches_are_read_as_kafka_python_reads_them(parts, data):
    made, end = joined(parts)
    offset = data.draw(st.integers(0, made and end - 1), "offset")
    response = b"".join(made)
    assert ours(response, offset) == kafkas(response, offset)
    cut = data.draw(st.integers(len(made[0]), len(response)), "cut")
    found = read_records(response[:cut], offset)
    expected, position, _ = kafkas(response[:cut], offset)
    assert (rows_of(found), found.next_offset) == (expected, max(position, offset))


@pytest.mark.parametrize("codec", CODECS)
def test_a_long_batch_of_lines(codec):
    lines = [LINE + b"%d" % number for number in range(20_000)]
    response = values(*lines, base=1000, codec=codec)
    assert (len(response) < sum(map(len, lines))) == (codec != NONE)
    found = read_records(response, 1005)
    assert (rows_of(found), found.next_offset, found.leader_epoch) == kafkas(response, 1005)
    blocks = list(found.blocks("t:0"))
    assert [len(block.lines) for block in blocks] == [BLOCK_LINES, BLOCK_LINES, 20_000 - 5 - 2 * BLOCK_LINES]
    assert [block.first_position for block in blocks] == [1005, 1005 + BLOCK_LINES, 1005 + 2 * BLOCK_LINES]
    assert all(block.positions is None and block.source == "t:0" for block in blocks)
    assert [line for block in blocks for line in block.lines] == lines[5:]


def test_null_is_no_line_and_empty_is_one():
    found = read_records(values(b"a", None, b"", b"b", deltas=[0, 1, 2, 5]), 0)
    assert found.lengths.tolist() == [1, -1, 0, 1]
    assert found.nulls.tolist() == [1]
    [block] = found.blocks("t:0")
    assert (block.lines, block.positions) == ([b"a", b"", b"b"], [0, 2, 5])


def test_without_compression_nothing_is_copied():
    response = values(b"a", b"b")
    assert read_records(response, 0).buffer is response


@pytest.mark.parametrize("offset", [0, 3, 9])
def test_nothing_and_compacted_away_batches(offset):
    assert ours(b"", offset) == ([], offset, -1)
    empty = with_body(b"", 0)
    response = empty + values(b"a", base=1, last_delta=8)
    assert ours(response) == kafkas(response)
    assert read_records(response, offset).next_offset == 10


@pytest.mark.parametrize(
    ("magic", "codec"), [(0, NONE), (0, GZIP), (0, SNAPPY), (1, NONE), (1, GZIP), (1, SNAPPY), (1, LZ4)]
)
def test_older_formats_beside_new_ones(magic, codec):
    records = [(TIME + number, b"k", value, []) for number, value in enumerate([LINE, None, b"", LINE * 9])]
    response = old(magic, codec, records)
    found = read_records(response, 1)
    assert (rows_of(found), found.next_offset) == kafkas(response, 1)[:2]
    assert found.offsets.tolist() == [1, 2, 3]
    assert (found.timestamps == NO_TIMESTAMP).all() == (magic == 0)
    assert ours(response + values(b"new", base=4)) == kafkas(response + values(b"new", base=4))


# --- transactions ---


def test_control_batches_move_the_position_only():
    response = values(b"a") + marker(1, 5, commit=True) + values(b"b", base=2) + marker(3, 5)
    for transactions in (None, []):
        assert ours(response, 0, transactions) == kafkas(response, 0, transactions)
    assert ours(marker(0, 5)) == ([], 1, 7)


@given(
    st.lists(st.tuples(st.sampled_from([3, 4]), st.sampled_from(["data", "abort", "commit", "plain"])), max_size=14),
    st.lists(st.tuples(st.sampled_from([3, 4]), st.integers(0, 14)), max_size=4),
    st.sampled_from(CODECS),
)
def test_aborted_transactions_are_left_out_as_kafka_python_leaves_them_out(events, transactions, codec):
    made = []
    for base, (producer, event) in enumerate(events):
        if event in {"abort", "commit"}:
            made.append(marker(base, producer, event == "commit"))
        else:
            how = {"producer": producer, "transactional": event == "data"}
            made.append(values(LINE + bytes([base]) * 50, base=base, codec=codec, **how))
    response = b"".join(made)
    assert ours(response, 0, aborted(*transactions)) == kafkas(response, 0, aborted(*transactions))
    assert ours(response) == kafkas(response)


def test_an_abort_marker_ends_only_its_own_transaction():
    how = {"producer": 3, "transactional": True}
    response = (
        values(b"gone", **how) + values(b"other", base=1, producer=4, transactional=True) + marker(2, 3)
        + values(b"kept", base=3, **how) + marker(4, 3, commit=True)
    )  # fmt: skip
    assert [value for _, _, value in ours(response, 0, aborted((3, 0)))[0]] == [b"other", b"kept"]
    assert [value for _, _, value in ours(response, 0)[0]] == [b"gone", b"other", b"kept"]


def test_a_control_batch_without_records_ends_nothing():
    empty = bytearray(with_body(b"", 0))
    struct.pack_into(">hiqqqh", empty, 21, 0x30, 0, 0, 0, 3, 0)
    struct.pack_into(">q", empty, 0, 1)
    how = {"producer": 3, "transactional": True}
    response = values(b"gone", **how) + sealed(empty) + values(b"gone too", base=2, **how)
    assert ours(response, 0, aborted((3, 0))) == ([], 3, 7)


# --- damage ---


@pytest.mark.parametrize("codec", CODECS)
def test_damage_at_any_byte_is_an_error_or_changes_nothing(codec):
    response = values(LINE, None, LINE, codec=codec)
    before = rows_of(read_records(response, 0))
    for at in range(len(response)):
        for flip in (0x01, 0x80, 0xFF):
            broken = bytearray(response)
            broken[at] ^= flip
            try:
                found = rows_of(read_records(bytes(broken), 0))
            except UnreadableBatch:
                continue
            assert at in OUTSIDE_CHECKSUM
            assert [row[1:] for row in found] == [row[1:] for row in before]


@pytest.mark.parametrize("magic", [0, 1])
def test_damage_of_older_formats_is_an_error(magic):
    response = old(magic, GZIP, [(TIME, None, LINE, [])] * 3)
    for at in range(8, len(response)):
        broken = bytearray(response)
        broken[at] ^= 0x41
        with pytest.raises(UnreadableBatch):
            read_records(bytes(broken), 0)


def test_every_cut_of_a_first_batch_is_an_error_and_of_a_second_none():
    first, second = values(b"a"), values(b"b", base=1)
    for size in range(1, len(first)):
        with pytest.raises(UnreadableBatch):
            read_records(first[:size], 0)
    for size in range(len(second)):
        assert ours(first + second[:size])[:2] == ([(0, TIME, b"a")], 1)


def test_what_stands_before_a_damaged_batch_is_read_first():
    good, bad = values(b"a", b"b"), values(b"c", base=2)
    for damaged in (bad[:-1] + b"x", with_body(b"\x00" * 7, 1), bad[:16] + b"\x03" + bad[17:], bad[:8] + bytes(53)):
        broken = struct.pack(">q", 2) + damaged[8:]
        found = read_records(good + broken + values(b"d", base=3), 0)
        assert ([value for _, _, value in rows_of(found)], found.next_offset) == ([b"a", b"b"], 2)
        with pytest.raises(UnreadableBatch) as caught:
            read_records(broken + values(b"d", base=3), 2)
        assert caught.value.offset == 2


def test_an_error_says_where_to_go_on_only_if_the_header_can_be_believed():
    response = with_body(b"\x00" * 70, 10)
    with pytest.raises(UnreadableBatch, match="malformed") as caught:
        read_records(response, 0)
    assert (caught.value.offset, caught.value.next_offset) == (0, 10)
    with pytest.raises(UnreadableBatch, match="checksum") as caught:
        read_records(response[:-1] + b"\x01", 0)
    assert caught.value.next_offset is None


def test_offsets_that_run_backwards_are_refused():
    response = values(b"a", b"b", base=5) + values(b"c", base=6)
    assert read_records(response, 5).next_offset == 7
    assert len(read_records(response, 5)) == 2
    for deltas, last in (([1, 1], None), ([2, 1], 2), ([0, 3], 2)):
        with pytest.raises(UnreadableBatch, match="malformed"):
            read_records(values(b"a", b"b", deltas=deltas, last_delta=last), 0)
    for base, last in ((-1, 0), (0, -1), ((1 << 63) - 1, 0), ((1 << 63) - 3, 2)):
        with pytest.raises(UnreadableBatch, match="ends at"):
            read_records(values(b"a", base=base, last_delta=last), 0)
    assert read_records(values(b"a", base=(1 << 63) - 2), 0).next_offset == (1 << 63) - 1


def test_a_time_beyond_64_bits_is_refused():
    response = bytearray(values(b"a", b"b"))
    struct.pack_into(">q", response, 27, (1 << 63) - 1)
    with pytest.raises(UnreadableBatch, match="malformed"):
        read_records(sealed(response), 0)


# --- records, beside a plain reference ---


def plain_varint(data, at, end):
    value = 0
    for index in range(10):
        if at >= end:
            raise ValueError
        value |= (data[at] & 0x7F) << 7 * index
        at += 1
        if data[at - 1] < 0x80:
            if value >= 1 << 64:
                raise ValueError
            return value >> 1 ^ -(value & 1), at
    raise ValueError


def plain_bytes(data, at, end):
    length, at = plain_varint(data, at, end)
    if length < 0:
        return None, at
    if at + length > end:
        raise ValueError
    return data[at : at + length], at + length


def plain_records(body, count):
    """[(offset, time, value)] of a batch from offset 0 and time TIME, or ValueError."""
    at, found = 0, []
    for _ in range(count):
        length, at = plain_varint(body, at, len(body))
        end = at + length
        if length < 1 or end > len(body):
            raise ValueError
        delta_time, at = plain_varint(body, at + 1, end)
        delta, at = plain_varint(body, at, end)
        _, at = plain_bytes(body, at, end)
        value, at = plain_bytes(body, at, end)
        number, at = plain_varint(body, at, end)
        if number < 0 or number > len(body):
            raise ValueError
        for _ in range(number):
            name, at = plain_bytes(body, at, end)
            _, at = plain_bytes(body, at, end)
            if name is None:
                raise ValueError
        if at != end or delta >= count or delta <= (found[-1][0] if found else -1) or delta_time + TIME >= 1 << 63:
            raise ValueError
        found.append((delta, TIME + delta_time, value))
    if at != len(body):
        raise ValueError
    return found


def matches_the_reference(body, count):
    try:
        expected = plain_records(body, count)
    except ValueError:
        with pytest.raises(UnreadableBatch):
            read_records(with_body(body, count), 0)
        return False
    assert rows_of(read_records(with_body(body, count), 0)) == expected
    return True


@given(st.binary(max_size=80), st.integers(0, 4))
def test_any_bytes_are_walked_like_the_reference(body, count):
    matches_the_reference(body, count)


@given(st.lists(record, min_size=1, max_size=4), st.data())
def test_mutated_records_are_walked_like_the_reference(records, data):
    body = bytearray(batch([(TIME, *rest) for _, *rest in records])[HEADER:])
    assert matches_the_reference(bytes(body), len(records))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    matches_the_reference(bytes(body), len(records))
    matches_the_reference(bytes(body[: data.draw(st.integers(0, len(body)))]), len(records))


@pytest.mark.parametrize("more", [-2, -1, 1, 2, 5])
def test_a_record_ends_where_its_length_says(more):
    """Even where the fields and the next record are in order."""
    body = bytearray(values(b"first", b"second")[HEADER:])
    assert matches_the_reference(bytes(body), 2)
    body[0] += 2 * more
    assert not matches_the_reference(bytes(body), 2)


def varint(value):
    made = bytearray()
    encode_varint(value, made.append)
    return bytes(made)


@pytest.mark.parametrize("field", range(6))
@pytest.mark.parametrize(
    "number",
    [b"\xff" * 9 + b"\x01", b"\xfe" + b"\xff" * 8 + b"\x01", b"\xff" * 9 + b"\x02", b"\xff" * 11, b"\x80" * 9 + b"\x00",
     b"\xff\xff\xff\xff\x0f", b"\xfe\xff\xff\xff\x0f"],
    ids=["least", "largest", "65 bits", "endless", "zero in ten bytes", "least int32", "largest int32"],
)  # fmt: skip
def test_extreme_numbers_in_every_field(field, number):
    """Time, offset, key length, value length, number of headers, and the length of the record itself."""
    fields = [b"\x00"] * 5
    if field < 5:
        fields[field] = number
    content = b"\x00" + b"".join(fields)
    matches_the_reference((number if field == 5 else varint(len(content))) + content, 1)


@pytest.mark.parametrize(("name", "content", "whole"), [(0, -1, True), (0, 0, True), (-1, 0, False), (-2, -1, False)])
def test_a_header_without_a_name_is_refused(name, content, whole):
    record = b"\x00\x00\x00" + varint(-1) + varint(0) + varint(2) + (varint(name) + varint(content)) * 2
    assert matches_the_reference(varint(len(record)) + record, 1) == whole


def test_more_records_than_bytes_are_refused_before_memory_is_taken():
    for count in (2, 1 << 30, (1 << 31) - 1, -1):
        with pytest.raises(UnreadableBatch, match="records in"):
            read_records(with_body(b"\x0c" + bytes(6), count), 0)


# --- bounds ---

BOMB = bytes(1 << 22)


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
def test_a_bomb_is_refused(codec):
    response = values(BOMB, BOMB, codec=codec)
    assert len(read_records(response, 0)) == 2
    tracemalloc.start()
    with pytest.raises(UnreadableBatch, match="too many") as caught:
        read_records(response, 0, limit=1 << 20)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.next_offset == 2
    assert most < 3 << 20  # pieces, and the pieces joined


@pytest.mark.parametrize("magic", [0, 1])
def test_a_bomb_of_an_older_format_is_refused(magic):
    with pytest.raises(UnreadableBatch, match="too many"):
        read_records(old(magic, GZIP, [(TIME, None, BOMB, [])]), 0, limit=1 << 20)


@pytest.mark.parametrize("codec", CODECS)
def test_a_limit_spreads_batches_over_fetches(codec):
    made = [values(*[LINE] * 50, base=50 * number, codec=codec) for number in range(6)]
    offset, fetches, found = 0, 0, []
    while offset < 300:
        part = read_records(b"".join(made), offset, limit=15_000)
        assert part.next_offset > offset
        offset, fetches = part.next_offset, fetches + 1
        found += rows_of(part)
    assert fetches == 3
    assert found == ours(b"".join(made))[0]
    with pytest.raises(UnreadableBatch):
        read_records(b"".join(made), 0, limit=5_000)


def test_an_old_message_of_negative_length_is_no_endless_loop():
    inner = bytearray(old(1, NONE, [(TIME, None, b"a", [])]))
    struct.pack_into(">i", inner, 8, -12)
    wrapper = bytearray(old(1, NONE, [(TIME, None, gzip.compress(bytes(inner)), [])]))
    wrapper[17] = GZIP
    struct.pack_into(">I", wrapper, 12, calc_crc32(memoryview(wrapper)[16:]))
    with pytest.raises(UnreadableBatch, match="length -12"):
        read_records(bytes(wrapper), 0)


# --- compression ---


def test_frames_that_follow_one_another():
    assert plain(GZIP, gzip.compress(b"a") + b"\x00" * 4 + gzip.compress(b"b"), 2) == b"ab"
    assert plain(ZSTD, zstandard.compress(b"a") + zstandard.compress(b"b"), 2) == b"ab"
    assert plain(SNAPPY, b"\x01\x00a", 1) == b"a"
    assert plain(SNAPPY, libraries.snappy_encode(BOMB), len(BOMB)) == BOMB
    assert plain(LZ4, lz4.frame.compress(BOMB, store_size=False), len(BOMB)) == BOMB


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@given(data=st.binary(max_size=60), start=st.booleans())
def test_any_bytes_decompress_or_are_refused(codec, data, start):
    heads = {
        GZIP: b"\x1f\x8b\x08",
        SNAPPY: b"\x82SNAPPY\x00" + bytes(8),
        LZ4: b"\x04\x22\x4d\x18",
        ZSTD: b"\x28\xb5\x2f\xfd",
    }
    with suppress(ValueError):
        assert len(plain(codec, heads[codec] * start + data, 1000)) <= 1000


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_an_unknown_compression_is_refused(codec):
    with pytest.raises(UnreadableBatch, match=f"compression {codec}"):
        read_records(with_body(b"", 0, codec), 0)


@pytest.mark.parametrize("name", ["snappy", "lz4", "zstd"])
def test_a_missing_library_is_named(monkeypatch, name):
    code = {"snappy": SNAPPY, "lz4": LZ4, "zstd": ZSTD}[name]
    response = values(LINE * 9, base=1, codec=code)
    monkeypatch.setattr(libraries, name, None)
    with pytest.raises(MissingLibrary, match=rf"pip install 'kafka-python\[{name}\]'"):
        read_records(response, 0)
    assert read_records(values(b"a") + response, 0).next_offset == 1


def test_the_checksum_is_not_computed_in_python():
    """kafka-python falls back on pure Python, some hundred times slower, without a word."""
    from kafka.record import util

    assert util.crc32c_c is not None
    assert record_batches.calc_crc32c is util.calc_crc32c

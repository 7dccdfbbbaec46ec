"""Files and folders into numbered records, whatever their bytes are."""

import gzip
import json
import zlib
from pathlib import Path
from unittest.mock import patch

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from detector.errors import UnreadableInput
from detector.records import Block
from detector.sources import framing
from detector.sources.files import Files
from detector.sources.kinds import kind

LINES = [json.dumps({"ts": 1760000000 + i, "uid": f"C{i}"}).encode() for i in range(50)]
PLAIN = b"\n".join(LINES) + b"\n"


def read(*paths: Path, block_lines: int = 8192) -> tuple[list[tuple[int, bytes]], Files]:
    files = Files(paths, block_lines)
    records = [record for block in files for record in numbered(block)]
    return records, files


def numbered(block: Block) -> list[tuple[int, bytes]]:
    positions = block.positions or range(block.first_position, block.first_position + len(block.lines))
    return list(zip(positions, block.lines, strict=True))


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


# --- walking ---


def test_a_folder_is_walked_in_sorted_order_without_hidden_files(tmp_path):
    for name in ("b/conn.log", "a/conn.log", "a/.hidden.log", ".git/x.log", "conn.log", "a.log"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(PLAIN)
    found = [str(file.relative_to(tmp_path)) for file in Files([tmp_path]).files]
    assert found == ["a.log", "conn.log", "a/conn.log", "b/conn.log"]


def test_a_missing_path_is_told(tmp_path):
    with pytest.raises(UnreadableInput, match="no such file or folder"):
        Files([tmp_path / "nothing"])


def test_the_source_of_a_block_is_the_path_as_given(tmp_path, monkeypatch):
    write(tmp_path / "conn.log", PLAIN)
    monkeypatch.chdir(tmp_path)
    assert {block.source for block in Files([Path("conn.log")])} == {"conn.log"}


# --- lines ---


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_lines_are_numbered_from_one(tmp_path, ending):
    records, _ = read(write(tmp_path / "x.log", b'{"a":1}\n\n{"b":2}' + ending))
    assert [(number, line.strip()) for number, line in records] == [(1, b'{"a":1}'), (2, b""), (3, b'{"b":2}')]


@given(
    st.lists(st.binary(max_size=12).map(lambda b: b.replace(b"\n", b"")), max_size=20),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1 << 20, 5]),
)
def test_chunk_boundaries_do_not_matter_to_lines(lines, size, most, limit):
    data = b"\n".join(lines)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    with patch.object(framing, "RECORD_LIMIT", limit):
        groups = list(framing.lines(chunks, most))
    found = [line[:limit] for group in groups for line in group]
    expected = [line[:limit] for line in data.split(b"\n")]
    assert found == (expected if expected[-1] else expected[:-1])
    assert all(len(line) <= limit + size for group in groups for line in group)
    assert all(len(group) <= most for group in groups)


@pytest.mark.parametrize("block_lines", [1, 7, 50, 8192])
def test_blocks_hold_what_was_asked_for(tmp_path, block_lines):
    records, _ = read(write(tmp_path / "x.log", PLAIN), block_lines=block_lines)
    assert records == list(enumerate(LINES, 1))
    blocks = list(Files([tmp_path / "x.log"], block_lines))
    assert all(len(block.lines) == block_lines for block in blocks[:-1])


def test_an_endless_line_is_cut_and_the_next_one_kept(tmp_path):
    long = b'{"a":"' + b"x" * (3 * framing.RECORD_LIMIT) + b'"}'
    records, _ = read(write(tmp_path / "x.log", LINES[0] + b"\n" + long + b"\n" + LINES[1]))
    assert [number for number, _ in records] == [1, 2, 3]
    assert len(records[1][1]) == framing.RECORD_LIMIT
    assert records[2][1] == LINES[1]


# --- compression ---

PACKED = {
    "gzip": gzip.compress(PLAIN),
    "gzip of several members": gzip.compress(PLAIN[:300]) + gzip.compress(PLAIN[300:]) + b"\x00" * 9,
    "zstd": zstandard.compress(PLAIN),
    "zstd of several frames": zstandard.compress(PLAIN[:300]) + zstandard.compress(PLAIN[300:]),
    "plain": PLAIN,
}


@pytest.mark.parametrize("name", ["x.log", "x.log.gz", "x.log.zst"])
@pytest.mark.parametrize("how", PACKED)
def test_compression_is_told_by_the_first_bytes_not_by_the_name(tmp_path, name, how):
    records, files = read(write(tmp_path / name, PACKED[how]))
    assert records == list(enumerate(LINES, 1))
    assert not files.problems
    assert files.bytes_read == files.bytes_total == len(PACKED[how])


@pytest.mark.parametrize("how", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["cut off", "overwritten"])
def test_a_damaged_stream_gives_what_was_read_and_one_problem(tmp_path, how, damage):
    rows = [orjson.dumps({"ts": i, "uid": zlib.crc32(b"%d" % i)}) for i in range(60_000)]
    plain = b"\n".join(rows)
    data = gzip.compress(plain) if how == "gzip" else zstandard.compress(plain)
    half = len(data) // 2
    data = data[:half] if damage == "cut off" else data[:half] + b"\xff" * 64 + data[half + 64 :]
    records, files = read(write(tmp_path / "conn.log.gz", data))
    [problem] = files.problems
    assert "read up to here" in problem.reason
    assert problem.position == len(records) + 1
    assert 10_000 < len(records) < 60_000
    # gzip notices a wrong byte only some blocks later.
    assert [line for _, line in records[:10_000]] == rows[:10_000]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_bomb_is_read_piece_by_piece(tmp_path, pack):
    bomb = pack(b'{"a":"' + b"0" * 200_000_000)
    assert len(bomb) < 1_000_000
    records, _ = read(write(tmp_path / "x.log.gz", bomb))
    assert [len(line) for _, line in records] == [framing.RECORD_LIMIT]


# --- JSON that is not one object a line ---

OBJECTS = [{"a": 1, "t": 'x"}{\\', "n": {"b": [1, {"c": 2}]}}, {"a": 2}, {"a": 3, "u": "ü"}]
WAYS = {
    "array": json.dumps(OBJECTS),
    "pretty array": json.dumps(OBJECTS, indent=2),
    "bare objects with commas": ",\n".join(json.dumps(o, indent=1) for o in OBJECTS),
    "objects with commas at line ends": ",\n".join(map(json.dumps, OBJECTS)),
    "array over lines": "[\n" + ",\n".join(map(json.dumps, OBJECTS)) + "\n]\n",
    "pretty objects, one after the other": "\n".join(json.dumps(o, indent=4) for o in OBJECTS),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_objects_are_framed(way, size):
    data = WAYS[way].encode()
    assert framing.looks_like_objects(data)
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    records = [record for group in framing.objects(chunks) for record in group]
    assert [json.loads(record) for _, record in records] == OBJECTS
    lines = data.split(b"\n")
    assert all(b"{" in lines[number - 1] for number, _ in records)


def test_one_object_a_line_is_no_case_for_framing():
    assert not framing.looks_like_objects(PLAIN)
    assert not framing.looks_like_objects(b'{"broken":\n' + PLAIN)


def test_a_broken_object_does_not_swallow_those_behind_it():
    whole = [json.dumps(o, indent=1) for o in ({"a": 1}, {"a": 2}, {"a": 3})]
    broken = whole[1].replace("}", '"')
    data = ("[\n" + ",\n".join([whole[0], broken, whole[2]]) + "\n]").encode()
    records = [record for _, record in framing.Objects().feed(data)]
    assert json.loads(records[0]) == {"a": 1}
    assert json.loads(records[-1]) == {"a": 3}
    assert len(records) == 3


def test_rubbish_between_objects_is_a_record_of_its_own():
    scanner = framing.Objects()
    records = scanner.feed(b'[{"a":1}, nonsense, {"a":2}\nmore nonsense\n{"a":') + scanner.close()
    assert records == [(1, b'{"a":1}'), (1, b"nonsense"), (1, b'{"a":2}'), (2, b"more nonsense"), (3, b'{"a":')]


@given(st.lists(st.sampled_from([b"{", b"}", b'"', b"\\", b"\n", b"[", b",", b"a", b"\xff", b" "]), max_size=60))
def test_any_bytes_are_framed_alike_in_any_pieces(parts):
    data = b"".join(parts)
    whole = [record for group in framing.objects([data]) for record in group]
    pieces = [record for group in framing.objects(parts) for record in group]
    assert pieces == whole
    kept = b"".join(record for _, record in whole)
    letters = bytes(byte for byte in data if byte in b"a\xff{}")
    assert bytes(byte for byte in kept if byte in b"a\xff{}") == letters


# --- files that are no logs ---


@pytest.mark.parametrize(
    ("name", "head", "reason"),
    [
        ("x.pcap", b"\xd4\xc3\xb2\xa1\x02\x00", "run Zeek or softflowd first"),
        ("x", b"\x0a\x0d\x0d\x0a", "run Zeek or softflowd first"),
        ("x.nfdump", b"\xa5\x0c\x01\x00", "nfdump -o csv"),
        ("x.zip", b"PK\x03\x04", "unpack it first"),
        ("x.tar", b"name".ljust(257, b"\x00") + b"ustar", "unpack it first"),
        ("x.dat", b"\x00\x05\x00\x1d", "raw NetFlow v5"),
        ("x.dat", b"\x00\x0a\x01\x00", "raw NetFlow IPFIX"),
        ("conn.log", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        ("labels.csv", b"campaign,start,end,src,dst,technique\n", "--labels"),
        ("packets.csv", b"1;0\n2;0\n", "no log"),
        ("README.md", b"# Data\n", "text or settings"),
        ("labels.config.gz", b"Malicious: a, b, c, d\n", "text or settings"),
        ("plant.yaml", b"name: x\n", "text or settings"),
        ("x.bin", b"\x01\x02\x00\x03", "binary"),
        ("x.parquet", b"PAR1", "Parquet"),
    ],
)
def test_what_is_no_log_is_told_with_advice(name, head, reason):
    assert reason in (kind(name, head) or "")


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("conn.log", b"#separator \\x09\n"),
        ("conn.log", b"### BTest baseline data\n"),
        ("conn.log", PLAIN),
        ("README.md", PLAIN),  # whatever the name says
        ("x", b'  \n{"a":1}'),
        ("x.json", b"[\n{"),
        ("conn_top.log", b"1517336042.09\tCi85\t10.0.0.1\t1\t10.0.0.2\n"),
        ("flows.csv", b"ts,te,td,sa,da,sp,dp,pr\n"),
    ],
)
def test_what_may_be_a_log_is_read(name, head):
    assert kind(name, head) is None


def test_skipped_files_are_listed(tmp_path):
    write(tmp_path / "a.pcap", b"\xd4\xc3\xb2\xa1")
    write(tmp_path / "b.parquet", b"PAR1....PAR1")
    write(tmp_path / "c.log", b"")
    write(tmp_path / "d.log", PLAIN)
    records, files = read(tmp_path)
    assert len(records) == 50
    assert [Path(skipped.path).name for skipped in files.skipped] == ["a.pcap", "b.parquet", "c.log"]
    assert [path.name for path in files.parquet] == ["b.parquet"]
    assert files.bytes_read == files.bytes_total


@pytest.mark.shared_data
def test_recorded_captures_are_told_apart(shared_data):
    records, files = read(shared_data / "netflow")
    assert len(records) > 1000
    assert sum("raw NetFlow" in skipped.reason for skipped in files.skipped) > 80

"""goflow2's protobuf files: cut into messages wherever the chunks end, and read like its JSON."""

from pathlib import Path

from google.protobuf.internal.encoder import _VarintBytes as varint
from hypothesis import given
from hypothesis import strategies as st

from detector.formats.batch import Context
from detector.formats.goflow2_protobuf import _Flow
from detector.sources.files import Files
from detector.sources.messages import MESSAGE_LIMIT, looks_like_messages, messages
from tests.formats.lines import decode_file

START = 1_760_000_000 * 10**9  # ns, 2025-10-09


def flow(number: int) -> bytes:
    times = {f"time_{name}_ns": START + number for name in ("received", "flow_start", "flow_end")}
    message = _Flow(type=3, proto=6, src_addr=b"\x0a\x00\x00\x01", dst_addr=bytes(15) + b"\x01", **times)
    message.src_port, message.dst_port, message.bytes, message.packets = 40000 + number, 445, 100, 1
    wire: bytes = message.SerializeToString()
    return wire


def framed(wires: list[bytes]) -> bytes:
    return b"".join(varint(len(wire)) + wire for wire in wires)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.integers(1, 90))
def test_a_stream_cut_anywhere_gives_the_same_messages(wires: list[bytes], size: int) -> None:
    whole = framed(wires)
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
    found = [record for group in messages(chunks) for record in group]
    assert found == list(enumerate(wires, 1))


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_any_stream_is_cut_without_raising(chunks: list[bytes]) -> None:
    found = [record for group in messages(chunks) for record in group]
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    assert sum(len(record) for _, record in found) <= sum(map(len, chunks))
    looks_like_messages(b"".join(chunks))


def test_a_file_of_messages_is_read_like_json(tmp_path: Path) -> None:
    path = tmp_path / "flows.bin"
    path.write_bytes(framed([flow(number) for number in range(1000)]))
    decoded = decode_file(path, Context())
    assert decoded.rows == decoded.flows.height == 1000
    assert decoded.flows["orig_p"].to_list() == list(range(40000, 41000))
    assert decoded.flows["position"].to_list() == list(range(1, 1001))
    assert set(decoded.flows["resp_h"]) == {"::1"}


def test_lost_boundaries_and_a_cut_end_are_one_reject_each(tmp_path: Path) -> None:
    for rest in (varint(MESSAGE_LIMIT + 1) + b"\x08\x03", b"\xff" * 9, framed([flow(1)])[:-3]):
        path = tmp_path / "flows.bin"
        path.write_bytes(framed([flow(0)]) + rest)
        decoded = decode_file(path, Context())
        assert decoded.flows.height == 1
        assert [reject.position for reject in decoded.rejects] == [2]


def test_text_is_not_taken_for_messages(tmp_path: Path) -> None:
    for head in (b'{"type":"SFLOW_5"}\n', b"ts,orig_h,resp_h,proto\n", b"", b"\x08\x03", bytes(64)):
        assert not looks_like_messages(head)
    (tmp_path / "zeros.bin").write_bytes(bytes(64))
    files = Files([tmp_path])
    assert list(files) == []
    assert len(files.skipped) == 1

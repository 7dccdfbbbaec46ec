"""Records are counted by the reason why they could not be used, so no text of a record may be in it."""

import orjson

from detector.engine import Accounting
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block

CONN = {"_path": "conn", "ts": 1.5, "uid": "C1", "id.orig_h": "10.0.0.1", "id.orig_p": 1, "id.resp_h": "10.0.0.2"}
CONN |= {"id.resp_p": 2, "proto": "tcp", "conn_state": "SF"}
FLOW = {"type": "IPFIX", "time_received_ns": 1_772_409_600_000_000_000, "src_addr": "10.0.0.1", "dst_addr": "10.0.0.2"}
FLOW |= {"proto": "TCP", "src_port": 1, "dst_port": 2, "bytes": 3, "packets": 4}
LINES = 10_000


def bad(number: int) -> bytes:
    """Broken in one of many ways, and otherwise than every other one of them."""
    word = f"x{number}"
    broken = [
        b"{" + word.encode(),
        word.encode(),
        bytes([0x80]) + word.encode(),
        orjson.dumps({word: number}),
        *(orjson.dumps(CONN | {name: word}) for name in ("ts", "id.orig_h", "id.orig_p", "orig_bytes", "duration")),
        orjson.dumps(CONN | {"id.resp_p": 70_000 + number}),
        orjson.dumps(CONN | {"duration": -1.0 - number}),
        orjson.dumps(CONN | {"ts": -1.0 - number}),
        *(orjson.dumps(FLOW | {name: word}) for name in ("src_addr", "src_port", "bytes", "proto", "tcp_flags")),
        orjson.dumps(FLOW | {"bytes": 2**62, "sampling_rate": 2 + number}),
        orjson.dumps(FLOW | {"tcp_flags": 70_000 + number}),
        orjson.dumps({"_path": word, "ts": 1}),
    ]
    return broken[number % len(broken)]


def test_ten_thousand_bad_lines_have_a_few_reasons():
    found = Decoder("topic:0", Context(), "topic").decode(Block("topic:0", 0, [bad(number) for number in range(LINES)]))
    account = Accounting()
    account.rejected.update((reject.source, reject.reason) for reject in found.rejects)
    assert account.rejected.total() > 0.8 * LINES
    assert 10 < len(account.rejected) < 30
    assert len({reject.detail for reject in found.rejects}) > 0.5 * LINES


def test_rows_of_a_table_that_do_not_fit_have_one_reason():
    header = b"#separator \\x09\n#path\tconn\n#fields\tts\tuid\tid.orig_h".split(b"\n")
    rows = [b"\t".join([b"x"] * cells) for cells in range(4, 500)]
    found = Decoder("topic:0", Context(), "topic").decode(Block("topic:0", 0, [*header, *rows]))
    assert len(found.rejects) == len(rows)
    assert len({reject.reason for reject in found.rejects}) == 1

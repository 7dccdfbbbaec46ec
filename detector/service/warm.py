"""Kernels are compiled, or loaded, before the first record comes."""

import json
from dataclasses import replace

import numpy as np

from detector.config import Settings
from detector.engine import Engine
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Arrived, Block, Decoded
from detector.sources.kafka_merge import Partition
from detector.sources.quotas import Quotas
from detector.sources.record_batches import read_records

_ROWS = 600  # more than `engine.RELEASE_ROWS`
_FLOWS = 20
_TIMES = ("time_received_ns", "time_flow_start_ns", "time_flow_end_ns")
_BEGIN = 1_700_000_000  # s since the epoch

_BATCH = bytes.fromhex(
    "00000000000000000000003c0000000002e94b0bba0000000000000000018bcfe568000000018bcf"
    "e56800ffffffffffffffffffffffffffff000000011400000001087761726d00"
)
"""A batch of one record, ``warm``, as kafka-python writes it (magic 2)."""

_TABLE = [
    b"#separator \\x09",
    b"#path\tconn",
    b"#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tservice\tduration\tconn_state",
    b"#types\ttime\tstring\taddr\tport\taddr\tport\tenum\tstring\tinterval\tstring",
    *(b"%d.5\tT%d\t10.0.0.1\t50000\t10.1.0.1\t445\ttcp\tsmb\t0.1\tSF" % (_BEGIN + _ROWS, row) for row in range(9)),
]
"""Zeek's tab-separated conn.log."""


def warm(settings: Settings) -> None:
    """Send made-up rows down the path of an engine that is then thrown away."""
    engine = Engine(settings.model_copy(update={"max_entries": 1000, "max_seen": 1000}))
    for decoded in warm_decoders():
        engine.push(decoded)
    engine.restore(engine.snapshot())
    engine.finish()


def warm_decoders() -> list[Decoded]:
    """The same of what reads Kafka's records and of decoders alone; returns the made-up rows."""
    read_records(_BATCH, 0)
    formats = ([_line(number) for number in range(_ROWS)], _TABLE, [_flow(number) for number in range(_FLOWS)])
    decoded = [Decoder("warm", Context("UTC", None)).decode(Block("warm", 0, lines)) for lines in formats]
    offsets = np.arange(_ROWS)
    limited = replace(decoded[0], arrived=Arrived(offsets, offsets, offsets))
    Quotas(lambda _: _ROWS).apply({Partition("warm", 0): [limited]})
    return decoded


def _line(number: int) -> bytes:
    """A connection, a log-on or an act, of few hosts, a second apart."""
    ends = {"id.orig_h": f"10.0.{number % 3}.1", "id.orig_p": 50_000, "id.resp_h": f"10.1.0.{number % 5}"}
    common = {"ts": _BEGIN + number, "uid": f"C{number}", **ends}
    kinds = (
        {"_path": "conn", "id.resp_p": 445, "proto": "tcp", "service": "smb", "duration": 0.1, "orig_bytes": 100,
         "resp_bytes": 200, "conn_state": "SF", "orig_pkts": 3, "resp_pkts": 3},
        {"_path": "ntlm", "id.resp_p": 445, "username": "u", "success": True},
        {"_path": "dce_rpc", "id.resp_p": 135, "endpoint": "svcctl", "operation": "CreateServiceW"},
        {"_path": "modbus", "id.resp_p": 502, "func": "WRITE_SINGLE_COIL"},
    )  # fmt: skip
    return json.dumps({**common, **kinds[number % len(kinds)]}).encode()


def _flow(number: int) -> bytes:
    """One direction of a conversation, as goflow2 writes it; the next line is the other."""
    ends = ["10.0.0.1", "10.1.0.2"] if number % 2 else ["10.1.0.2", "10.0.0.1"]
    ports = [50_000, 445] if number % 2 else [445, 50_000]
    times = dict.fromkeys(_TIMES, (_BEGIN + _ROWS + number // 2) * 10**9)
    record = {"type": "NETFLOW_V9", **times, "bytes": 100, "packets": 3, "src_addr": ends[0], "dst_addr": ends[1],
              "src_port": ports[0], "dst_port": ports[1], "proto": "TCP", "tcp_flags": 27}  # fmt: skip
    return json.dumps(record).encode()

"""Fuzz targets of the log formats: lines that no decoder may stumble over, whatever they hold.

A log's seeds are its golden files, so one that gets golden data is fuzzed from then on. Those without are only counted,
by the one converter that ``zeek.other`` stands for.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

import polars as pl

from detector.config import Settings
from detector.engine import Engine
from detector.formats.address import canonical
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.formats.goflow2_protobuf import _Flow
from detector.formats.registry import LOG_TYPES
from detector.records import FLOW, OPERATION, Block, Decoded, merge
from tests.conftest import REPOSITORY
from tests.formats.usual import equal, general

GOLDEN = REPOSITORY / "tests" / "golden"
COLUMNS = json.loads((GOLDEN / "columns" / "mapped.context.json").read_text())["columns"]
FORMATS = {"auto", *LOG_TYPES}
READ = sorted(folder.name for folder in GOLDEN.iterdir())
LINES = 16  # of an input that are decoded; more would only be slower
PORT_MAX = 65_535
TIME_MAX_US = 253_402_300_800 * 10**6  # `formats.fields`: four-digit years


def decoder(log: str, format: str) -> Decoder:
    return Decoder("fuzz:0", Context(columns=COLUMNS if log == "columns" else None), log, format)


def decode(subject: Decoder, lines: Sequence[bytes], first: int = 0) -> Decoded:
    return subject.decode(Block("fuzz:0", first, list(lines)))


def check_decoder(log: str, split: Callable[[bytes], list[bytes]], data: bytes) -> None:
    """Twice the same, with and without compiled readers, at once and line by line across restarts; rows are sane."""
    lines = split(data)[:LINES]
    for format in {"auto", log} & FORMATS:
        whole = decode(decoder(log, format), lines)
        equal(whole, decode(decoder(log, format), lines))
        equal(whole, decode(general(decoder(log, format)), lines))
        equal(by_position(whole), by_position(one_by_one(log, format, lines)))
        check_rows(whole, len(lines))


def one_by_one(log: str, format: str, lines: Sequence[bytes]) -> Decoded:
    """Each line by a decoder that has only the state of the one before."""
    parts, state = [], None
    for number, line in enumerate(lines):
        subject = decoder(log, format)
        if state is not None:
            subject.load_state(json.loads(state))
        parts.append(decode(subject, [line], number))
        after = json.dumps(subject.state())
        # Only what is no record may leave no trace.
        silent = not line.strip() or line[:1] == b"#" or after != state or line.strip() in (b"[", b"]", b"{", b"}")
        assert parts[-1].rows or silent or _is_table_footer(subject) or b"metrics" in line, line
        state = after
    return merge(parts)


def _is_table_footer(subject: Decoder) -> bool:
    """Whether a table is read: repeated headers and summaries of it are no records."""
    return subject._table is not None


def by_position(decoded: Decoded) -> Decoded:
    """Rows of one record stay as they are."""
    decoded.flows = decoded.flows.sort("position", maintain_order=True)
    decoded.operations = decoded.operations.sort("position", maintain_order=True)
    return decoded


def check_rows(decoded: Decoded, lines: int) -> None:
    """What comes behind relies on these."""
    flows, operations = decoded.flows, decoded.operations
    assert dict(flows.schema) == FLOW
    assert dict(operations.schema) == OPERATION
    for frame in (flows, operations):
        assert frame.select(pl.col("ts", "obs_ts", "orig_h", "resp_h").is_null().any()).row(0) == (False,) * 4
        assert frame["position"].is_between(0, lines - 1).all()
        assert frame.select(pl.col("ts", "obs_ts").is_between(-TIME_MAX_US, TIME_MAX_US).all()).row(0) == (True,) * 2
        assert frame.select(pl.col("orig_p", "resp_p").is_between(0, PORT_MAX).all()).row(0) == (True,) * 2
        for name in ("orig_h", "resp_h"):
            assert all(canonical(text) == text for text in frame[name].unique())
    assert flows["duration"].drop_nulls().is_finite().all()
    assert flows.select((pl.col("duration", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts") >= 0).all()).row(0)
    assert (flows["sampling"] >= 1).all()
    assert {*flows["log"].unique(), *operations["log"].unique()} <= {*LOG_TYPES}


# --- how an input becomes lines ---


def by_line(data: bytes) -> list[bytes]:
    return data.split(b"\n")


def by_length(data: bytes) -> list[bytes]:
    """Each record behind a byte with its length: binary ones may hold line feeds."""
    records, at = [], 0
    while at < len(data):
        records.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return records


def framed(records: Sequence[bytes]) -> bytes:
    return b"".join(bytes([len(record)]) + record for record in records)


# --- the engine behind them ---


def check_engine(data: bytes) -> None:
    """Rows of any kind are scored, and each is accounted for."""
    engine = Engine(Settings(max_entries=1000, max_seen=1000))
    subject = Decoder("fuzz:0", Context())
    for _, run in groupby(enumerate(by_line(data)[:LINES]), key=lambda item: item[0] // 7):
        numbered = list(run)
        engine.push(decode(subject, [line for _, line in numbered], numbered[0][0]))
    engine.finish()
    account = engine.accounting
    assert account.waiting == 0
    ended = account.scored + account.duplicate + account.late + account.rejected.total() + account.filtered.total()
    assert ended == account.rows


# --- seeds ---


def golden(log: str) -> list[bytes]:
    """The golden files of a log."""
    return [path.read_bytes() for path in files(GOLDEN / log)]


def files(folder: Path) -> list[Path]:
    made = (".expected.json", ".context.json")
    return [path for path in sorted(folder.glob("*")) if not path.name.endswith(made)]


def mixed() -> list[bytes]:
    """A line or two of every log."""
    seeds = [seed for log in READ for seed in golden(log)]
    tops = [seed.splitlines()[:2] for seed in seeds if seed[:1] == b"{"]
    return [b"\n".join(line for top in tops[at : at + 8] for line in top) for at in range(0, len(tops), 8)]


def messages() -> list[bytes]:
    """goflow2's protobuf messages, with and without their length in front."""
    flow = _Flow(
        type=3, sampling_rate=100, sequence_num=7, bytes=4200, packets=31, proto=6, src_port=50_311, dst_port=445,
        tcp_flags=26, time_received_ns=1_760_000_003 * 10**9, time_flow_start_ns=1_760_000_000 * 10**9,
        time_flow_end_ns=1_760_000_002 * 10**9, src_addr=b"\x0a\x14\x01\x0f", dst_addr=bytes(15) + b"\x01",
        sampler_address=b"\xc0\x00\x02\x01",
    ).SerializeToString()  # fmt: skip
    return [framed([flow]), framed([bytes([len(flow)]) + flow, flow, b'{"type":"NETFLOW_V9"}'])]


TARGETS = {
    **{log: (partial(check_decoder, log, by_line), partial(golden, log)) for log in READ},
    "netflow.goflow2 in protobuf": (partial(check_decoder, "netflow.goflow2", by_length), messages),
    "all logs": (partial(check_decoder, "zeek", by_line), mixed),
    "engine": (check_engine, mixed),
}

"""Real outputs of real collectors run through whole, every record accounted for (recorded captures needed)."""

import gzip
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import polars as pl
import pytest

from detector.formats import csv_header
from detector.formats.batch import Context
from detector.records import Decoded
from tests.formats.lines import convert, decode_lines


def nfdump_lines(tool: str, file: Path, *options: str) -> list[bytes]:
    run = subprocess.run([tool, "-r", str(file), *options], capture_output=True, check=True)
    return run.stdout.splitlines()


def test_pmacct_outputs(shared_data: Path) -> None:
    reasons: Counter[str] = Counter()
    records = flows = 0
    for path in sorted((shared_data / "netflow" / "pmacct").rglob("output-flow-*.json*")):
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        rows = [orjson.loads(line) for line in data.splitlines() if line.strip()]
        decoded = convert("netflow.pmacct", rows)
        assert decoded.rows == len(rows)
        records += len(rows)
        flows += decoded.flows.height
        reasons.update(reject.reason for reject in decoded.rejects)
        assert set(decoded.flows["proto"]) <= {"tcp", "udp", "icmp", "ipv6-icmp", "vrrp"}
        assert decoded.flows["exporter"].null_count() == 0
        assert not decoded.flows["oriented"].any()
    assert records > 1_900
    # Where `aggregate` lists no timestamp, only the message would have a time.
    assert set(reasons) <= {"netflow.pmacct: no usable time"}
    assert flows + reasons.total() == records


@pytest.mark.parametrize(
    ("name", "flows", "filtered"),
    [
        ("test2-malicious", 6751, {}),
        ("test3-mixed", 89, {}),
        ("test4-malicious", 392, {"ARP record": 2}),
        ("test5-mixed", 296, {"ARP record": 2, "management record": 1, "no address pair": 1}),
        ("test11-portscan", 66, {}),
    ],
)
def test_argus_files(shared_data: Path, name: str, flows: int, filtered: dict[str, int]) -> None:
    lines = (shared_data / "netflow" / f"{name}.binetflow").read_bytes().splitlines()
    decoded, records = decode_lines(lines, Context(timezone="Europe/Prague"), "netflow.argus")
    assert records == len(lines) - 1 == decoded.rows
    assert decoded.rejects == []
    assert decoded.flows.height == flows
    assert {reason: count for (_, reason), count in decoded.filtered.items()} == filtered
    assert (decoded.flows["resp_bytes"] >= 0).all()


def told(decoded: Decoded) -> pl.DataFrame:
    """What CSV and JSON of one nfdump file must agree on; this CSV has times in whole seconds."""
    return decoded.flows.drop("source", "position", "ts", "obs_ts", "duration")


def test_nfdump_csv_and_json_agree(shared_data: Path, require_tool: Callable[[str], str]) -> None:
    file = shared_data / "netflow" / "test1-malicious.nfdump"
    outputs = [
        nfdump_lines(require_tool("nfdump"), file, *options)
        for options in (("-o", "csv"), ("-o", "json"), ("-q", "-o", "json"))
    ]
    frames = [decode_lines(lines, Context(), "netflow.nfdump") for lines in outputs]
    assert [records for _, records in frames] == [4593] * 3
    assert [decoded.flows.height for decoded, _ in frames] == [4593] * 3
    assert told(frames[0][0]).equals(told(frames[1][0]))
    assert frames[1][0].flows.drop("position").equals(frames[2][0].flows.drop("position"))


def test_nfdump_bidirectional(shared_data: Path, require_tool: Callable[[str], str]) -> None:
    file = shared_data / "netflow" / "test1-malicious.nfdump"
    decoded, records = decode_lines(
        nfdump_lines(require_tool("nfdump"), file, "-B", "-o", "csv"), Context(), "netflow.nfdump"
    )
    assert decoded.flows.height == records < 4593
    paired = decoded.flows.filter("oriented")
    assert paired.height > records // 2
    assert paired["resp_pkts"].min() > 0


def test_nfdump_without_matches(shared_data: Path, require_tool: Callable[[str], str]) -> None:
    file = shared_data / "netflow" / "test1-malicious.nfdump"
    for output in ("csv", "json"):
        lines = nfdump_lines(require_tool("nfdump"), file, "-o", output, "proto 99")
        reader = csv_header.match(lines[0], Context())
        assert reader is not None
        assert [reader.row(line) for line in lines[1:]] == [None] * (len(lines) - 1)

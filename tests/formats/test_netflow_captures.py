"""Real outputs of real collectors run through whole, every record accounted for."""

import gzip
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import polars as pl
import pytest

from detector.formats.batch import Context
from detector.records import Decoded
from tests.formats.lines import convert, decode_file


def nfdump(tool: str, file: Path, out: Path, *options: str) -> Decoded:
    out.write_bytes(subprocess.run([tool, "-r", str(file), *options], capture_output=True, check=True).stdout)
    return decode_file(out, Context())


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
    path = shared_data / "netflow" / f"{name}.binetflow"
    decoded = decode_file(path, Context(timezone="Europe/Prague"))
    assert decoded.rows == len(path.read_bytes().splitlines()) - 1
    assert set(decoded.flows["log"]) == {"netflow.argus"}
    assert decoded.rejects == []
    assert decoded.flows.height == flows
    assert {reason: count for (_, reason), count in decoded.filtered.items()} == filtered
    assert (decoded.flows["resp_bytes"] >= 0).all()


def told(decoded: Decoded) -> pl.DataFrame:
    """What CSV and JSON of one nfdump file must agree on; this CSV has times in whole seconds."""
    return decoded.flows.drop("source", "position", "ts", "obs_ts", "duration")


def test_nfdump_csv_and_json_agree(shared_data: Path, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    file, tool = shared_data / "netflow" / "test1-malicious.nfdump", require_tool("nfdump")
    csv, json, quiet = (
        nfdump(tool, file, tmp_path / "flows.txt", *options)
        for options in (("-o", "csv"), ("-o", "json"), ("-q", "-o", "json"))
    )
    assert [decoded.rows for decoded in (csv, json, quiet)] == [4593] * 3
    assert [decoded.flows.height for decoded in (csv, json, quiet)] == [4593] * 3
    assert told(csv).equals(told(json))
    assert json.flows.drop("position").equals(quiet.flows.drop("position"))


def test_nfdump_bidirectional(shared_data: Path, tmp_path: Path, require_tool: Callable[[str], str]) -> None:
    file = shared_data / "netflow" / "test1-malicious.nfdump"
    decoded = nfdump(require_tool("nfdump"), file, tmp_path / "flows.csv", "-B", "-o", "csv")
    assert decoded.flows.height == decoded.rows < 4593
    paired = decoded.flows.filter("oriented")
    assert paired.height > decoded.rows // 2
    assert paired["resp_pkts"].to_numpy().min() > 0


@pytest.mark.parametrize("output", ["csv", "json"])
def test_nfdump_without_matches(
    shared_data: Path, tmp_path: Path, require_tool: Callable[[str], str], output: str
) -> None:
    file = shared_data / "netflow" / "test1-malicious.nfdump"
    decoded = nfdump(require_tool("nfdump"), file, tmp_path / "flows.txt", "-o", output, "proto 99")
    assert decoded.flows.height == 0
    assert [reject.raw for reject in decoded.rejects] in ([], [b"No matching flows"])

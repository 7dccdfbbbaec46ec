"""LANL and OpTC from files as their owners publish them."""

import gzip
from itertools import pairwise

import orjson
import polars as pl
import pytest
from contest import lanl, optc, recorded
from contest.names import Names

from detector.normalize.spool import Spool
from detector.records import FLOW, OPERATION, Decoded

AUTH = """\
1,C625$@DOM1,U147@DOM1,C625,C625,Negotiate,Batch,LogOn,Success
2,U1@DOM1,U1@DOM1,C1,C2,NTLM,Network,LogOn,Success
3,U1@DOM1,U1@DOM1,C1,C2,?,?,TGS,Success
9,U748@DOM1,U748@DOM1,C17693,C305,NTLM,Network,LogOn,Fail
"""
FLOWS = """\
1,0,C1,N10,C2,445,6,5,847
4,7,C3,443,C4,N2,17,1,100
8,0,C5,?,C6,?,50,1,100
"""


@pytest.fixture
def lanl_folder(tmp_path):
    with gzip.open(tmp_path / "auth.txt.gz", "wt") as file:
        file.write(AUTH)
    (tmp_path / "flows.txt").write_text(FLOWS)
    with gzip.open(tmp_path / "redteam.txt.gz", "wt") as file:
        file.write("9,U748@DOM1,C17693,C305\n")
    return tmp_path


def gathered(pieces):
    pieces = list(pieces)
    return pl.concat([piece.flows for piece in pieces]), pl.concat([piece.operations for piece in pieces])


@pytest.mark.parametrize("block", [1, 2, 100])
def test_lanl(lanl_folder, monkeypatch, block):
    monkeypatch.setattr(lanl, "BLOCK_LINES", block)
    names = Names()
    flows, operations = gathered(lanl.events(lanl_folder, names))
    assert flows.schema == FLOW
    assert operations.schema == OPERATION
    assert flows["ts"].to_list() == [(lanl.EPOCH + second) * 1_000_000 for second in (1, 4, 8)]
    ports = flows.select("orig_p", "resp_p", "proto", "orig_pkts", "orig_bytes").rows()
    assert ports == [(10, 445, "tcp", 5, 847), (443, 2, "udp", 1, 100), (None, None, "ip/50", 1, 100)]
    # Only log-ons from another computer.
    acts = operations.select("operation", "outcome", "user", "position").rows()
    assert acts == [("NTLM:Network", "ok", "U1@DOM1", 2), ("NTLM:Network", "failed", "U748@DOM1", 4)]
    assert operations["orig_h"][0] == flows["orig_h"][0] == names["C1"]
    [move] = lanl.redteam(lanl_folder, names)
    assert move.covers(operations["ts"][1], operations["orig_h"][1], operations["resp_h"][1])
    assert move.campaign == "from C17693"


def test_two_streams_in_step():
    def piece(*times):
        rows = [{"ts": time, "obs_ts": time} for time in times]
        return Decoded(pl.DataFrame(rows, schema=FLOW))

    def act(*times):
        rows = [{"ts": time, "obs_ts": time} for time in times]
        return Decoded(operations=pl.DataFrame(rows, schema=OPERATION))

    out = list(lanl.in_step(iter([piece(1, 5), piece(6, 20)]), iter([act(2, 3), act(4, 30)])))
    seen = [sorted([*part.flows["obs_ts"], *part.operations["obs_ts"]]) for part in out]
    assert sorted(time for part in seen for time in part) == [1, 2, 3, 4, 5, 6, 20, 30]
    ends = [part for part in seen if part]
    assert all(one[-1] <= other[0] for one, other in pairwise(ends))


def test_lanl_without_flows(lanl_folder):
    (lanl_folder / "flows.txt").unlink()
    flows, operations = gathered(lanl.events(lanl_folder, Names()))
    assert (flows.height, operations.height) == (0, 2)


def event(number, at, src, dst, direction="outbound", **more):
    about = {"src_ip": src, "dest_ip": dst, "src_port": "5000", "dest_port": "445", "l4protocol": "6"}
    plain = {"action": "START", "hostname": "SysClient0201.systemia.com", "id": f"id-{number}", "object": "FLOW"}
    return orjson.dumps(plain | {"properties": about | {"direction": direction}, "timestamp": at} | more) + b"\n"


def test_optc_events(tmp_path):
    lines = [
        event(2, "2019-09-23T11:24:00.500-04:00", "142.20.56.202", "142.20.56.204"),
        event(1, "2019-09-23T11:23:00.000-04:00", "142.20.56.202", "142.20.57.1"),
        event(3, "2019-09-23T11:25:00.000-04:00", "142.20.56.202", "142.20.57.2", object="PROCESS"),
        event(4, "2019-09-23T11:26:00.000-04:00", "142.20.56.202", "no address"),
    ]
    with gzip.open(tmp_path / "AIA-201-225.json.gz", "wb") as file:
        file.writelines(lines)
    (tmp_path / optc.REDTEAM).write_text(
        "id,description,label\n"
        "id-2,Day 1 - SysClient0201 -> 142.20.56.204 (SMB),Lateral movement\n"
        "id-1,Day 1 - Ping sweep from SysClient0201,Other\n"
    )
    reading = optc.Optc(tmp_path, Spool(tmp_path / "spool"))
    flows, _ = gathered(reading.events())
    assert flows.schema == FLOW
    assert flows["position"].to_list() == [2, 1]  # in order of time
    assert flows.select("orig_p", "resp_p", "proto", "oriented").row(0) == (5000, 445, "tcp", True)
    assert flows["ts"][0] == 1_569_252_180_000_000
    [move] = reading.labels
    assert (move.campaign, move.src, move.dst, move.start) == (
        "Day 1",
        "142.20.56.202",
        "142.20.56.204",
        flows["ts"][1],
    )


def test_optc_as_lmdeval_writes_it(tmp_path):
    file = tmp_path / "optc.csv.gz"
    with gzip.open(file, "wt") as opened:
        opened.write("timestamp,src,dst,src_port,dst_port,proto,label\n")
        opened.write("0,SysClient0001,10.20.1.1,5000,445,6,0\n7,SysClient0001,SysClient0002,5001,0,1,1\n")
    reading = optc.Optc(file, Spool(tmp_path / "spool"))
    flows, _ = gathered(reading.events())
    assert flows["orig_h"].to_list() == ["100.64.0.1", "100.64.0.1"]
    assert flows["resp_h"].to_list() == ["10.20.1.1", "100.64.0.2"]
    assert flows["proto"].to_list() == ["tcp", "icmp"]
    assert [label.start for label in reading.labels] == [(optc.EPOCH + 7) * 1_000_000]


def test_a_public_set_is_ranked(lanl_folder):
    judged = recorded.judge_lanl(lanl_folder)
    assert judged.ranking.units == 4
    assert judged.ranking.edges == 1
    assert [one.campaign for one in judged.ranking.fates[10]] == ["from C17693"]

"""Real traffic through a real exporter and collector gives the edges that Zeek saw in it.

softflowd keeps one flow for both directions and exports two records with the same start and end, so nothing but flags,
ports and what is known of the endpoints tells who began. Without ``-a`` a replayed flow's times lie at an arbitrary
offset from now, with it they are the capture's. nfcapd receives all of it today. So the time policy rightly distrusts
the flow times of a replay and takes the receive time, which puts the whole capture into a few milliseconds. Both are
tried: as received, and without the receive time, as it is when an exporter reports what has just ended.
"""

import contextlib
import json
import socket
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from detector.features.acts import ATTEMPT_KIND, FLOW_KIND
from detector.features.units import flow_units
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.normalize.direction import Direction
from detector.normalize.order import Order
from detector.normalize.twins import FLOW_IDENTITY, Twins
from detector.records import Decoded, merge
from detector.rows import Rows
from detector.sources.files import Files

pytestmark = pytest.mark.softflowd

CAPTURES = [
    "characterization_modbus_6RTU_with_operate",
    "exploit_ms08_netapi_modbus_6RTU_with_operate",
    "send_a_fake_command_modbus_6RTU_with_operate",
]
EDGE = ["orig_h", "resp_h", "service", "kind"]


def units(path):
    decoder = Decoder(str(path), Context())
    decoded = merge(decoder.decode(block) for block in Files([path]))
    assert decoded.rejects == []
    order = Order(2_000_000)
    released = [*order.push([Decoded(decoded.flows)]), order.flush()]
    flows = Direction().orient(Rows.concat([part.flows for part in released]))
    twin = Twins(FLOW_IDENTITY, 100_000).mark(flows)
    return flow_units(flows.at(np.flatnonzero(~twin))).frame(), decoded.notes


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port):
    """Whether somebody has bound the UDP port: an own bind would fail."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return False
    return True


@contextlib.contextmanager
def collector(nfcapd, folder):
    """nfcapd on a free port of the loopback; its file is complete when the context ends."""
    port = free_port()
    command = [nfcapd, "-w", folder, "-p", str(port), "-b", "127.0.0.1", "-t", "3600"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not listening(port):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield port
        settle(port)
    finally:
        process.terminate()
        process.wait(10)


def settle(port):
    """Wait until the collector has read all that waits in its socket."""
    deadline = time.monotonic() + 10
    wanted = f"0100007F:{port:04X}"
    while time.monotonic() < deadline:
        sockets = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()]
        if any(fields[1] == wanted and fields[4].endswith(":00000000") for fields in sockets):
            time.sleep(0.1)  # the last datagram is read; it is written when the collector ends
            return
        time.sleep(0.02)
    pytest.fail("the collector does not read")


@dataclass(frozen=True)
class Seen:
    """A capture as NetFlow: all records with the receive time, and without it."""

    folder: Path
    records: list[dict]

    def units(self, *, received: bool):
        kept = [row if received else {k: v for k, v in row.items() if k != "received"} for row in self.records]
        path = self.folder / f"flows-{received}.json"
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
        return units(path)


@pytest.fixture(scope="module", params=[["-v", "9"], ["-v", "9", "-a"], ["-v", "5", "-a"]], ids=" ".join)
def options(request):
    return request.param


@pytest.fixture(scope="module", params=CAPTURES)
def capture(request):
    return request.param


@pytest.fixture(scope="module")
def seen(capture, options, shared_data, require_tool, tmp_path_factory):
    softflowd, nfcapd, nfdump = (require_tool(name) for name in ("softflowd", "nfcapd", "nfdump"))
    folder = tmp_path_factory.mktemp("replay")
    (folder / "flows").mkdir()
    pcap = shared_data / "lemay-modbus" / f"{capture}.pcap"
    with collector(nfcapd, folder / "flows") as port:
        files = ["-p", folder / "pid", "-c", "none"]  # with a control socket it would wait for orders at the end
        command = [softflowd, "-r", pcap, "-n", f"127.0.0.1:{port}", "-d", *files, *options]
        subprocess.run(command, check=True, capture_output=True, timeout=10)
    exported = subprocess.run([nfdump, "-R", folder / "flows", "-o", "json"], check=True, capture_output=True)
    return Seen(folder, json.loads(exported.stdout))


@pytest.fixture(scope="module")
def zeek(capture, shared_data):
    return units(shared_data / "zeek-from-pcap" / "lemay-modbus" / capture / "conn.log.gz")[0]


def counted(frame):
    return Counter({(*edge,): count for *edge, count in frame.group_by(EDGE).len().iter_rows()})


def netbios(edges):
    """Edges between equal NetBIOS ports of two hosts, which Zeek itself may turn round (``^`` in its history)."""
    return {edge for edge in edges if edge[2] == "netbios-ns" and not edge[1].endswith(".255")}


@pytest.mark.parametrize("received", [True, False], ids=["as received", "by flow times"])
def test_the_edges_are_those_zeek_saw(seen, zeek, received, options):
    """But for IPv6, which NetFlow 5 cannot carry, and for one reply to a NetBIOS broadcast, whose question went to
    another address, so that neither sensor can know who began."""
    flows, notes = seen.units(received=received)
    assert sum(notes.values()) == (len(seen.records) if received else 0)
    expected, found = counted(zeek), counted(flows)
    if "5" in options:
        expected = Counter({edge: count for edge, count in expected.items() if ":" not in edge[0]})
    unclear = {frozenset(edge[:2]) for edge in netbios(expected)}
    assert unclear == {frozenset(edge[:2]) for edge in netbios(found)}
    assert len(unclear) <= 1
    assert found.keys() - netbios(found) == expected.keys() - netbios(expected)


@pytest.mark.parametrize("received", [True, False], ids=["as received", "by flow times"])
def test_connections_are_as_many(seen, zeek, received):
    """Established ones to the last; attempts are fewer, as softflowd adds to a flow what Zeek counts as the next."""
    expected, found = counted(zeek), counted(seen.units(received=received)[0])
    assert {e: n for e, n in found.items() if e[3] == FLOW_KIND} == {
        e: n for e, n in expected.items() if e[3] == FLOW_KIND
    }
    attempts = [edge for edge in found if edge[3] == ATTEMPT_KIND and edge not in netbios(found)]
    assert all(1 <= found[edge] <= expected[edge] <= 3 * found[edge] for edge in attempts)


@pytest.mark.parametrize("received", [True, False], ids=["as received", "by flow times"])
def test_the_exploit_and_its_shell_point_the_right_way(seen, capture, received):
    """The shell runs between two ports nobody assigned: 1625 began, and refused attempts before it say that 4444
    serves."""
    if not capture.startswith("exploit"):
        assert (
            counted(seen.units(received=received)[0]).keys().isdisjoint({("192.168.1.101", "192.168.1.105", "smb", 0)})
        )
        return
    flows = seen.units(received=received)[0].filter(pl.col("resp_h") == "192.168.1.105", pl.col("service") != "modbus")
    assert set(flows["orig_h"]) == {"192.168.1.101"}
    told = flows.select("service", "kind", "resp_p").unique().sort("resp_p", "kind").rows()
    assert told == [("smb", FLOW_KIND, 445), ("tcp/high", FLOW_KIND, 4444), ("tcp/high", ATTEMPT_KIND, 4444)]
    assert not flows["guessed"].any()

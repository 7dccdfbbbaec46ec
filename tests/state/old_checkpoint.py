"""What the committed checkpoint was made from, and how to make one of a new format:

    python -m tests.state.old_checkpoint

Those of earlier formats stay: a service that is updated finds one of them.
"""

from pathlib import Path

import orjson

from detector.config import Settings
from detector.engine import Engine
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block, Decoded
from detector.state import checkpoints
from detector.state.checkpoints import Checkpoint, Checkpoints, Origin
from detector.state.stores import FolderStore

FOLDER = Path(__file__).parent / "golden" / f"format-{checkpoints.FORMAT}"
SETTINGS = Settings(max_entries=1000, max_seen=1000)
CLUSTER, TOPICS = "golden-cluster", {"zeek": "golden-topic"}
SERVERS = {5: ("tcp", 445, "smb"), 6: ("tcp", 443, "ssl"), 7: ("udp", 53, "dns")}
BEGIN, HOURS = 1_770_000_000, 48


def conversation(second: int, client: int, server: int) -> bytes:
    """A line of conn.log."""
    proto, port, service = SERVERS[server]
    told = {"ts": second, "uid": f"C{second}{client}", "id.orig_h": f"10.0.0.{client}", "id.orig_p": 40_000 + client}
    told |= {"id.resp_h": f"10.0.0.{server}", "id.resp_p": port, "proto": proto, "service": service, "duration": 1.0}
    told |= {"orig_bytes": 100 + client, "resp_bytes": 1000, "conn_state": "SF", "orig_pkts": 5, "resp_pkts": 6}
    return orjson.dumps({"_path": "conn"} | told)


def history() -> list[bytes]:
    """Two days in which each of eight clients speaks with its own server every hour."""
    return [
        conversation(BEGIN + 3600 * hour + client, client, 5 + client % 3)
        for hour in range(HOURS)
        for client in range(20, 28)
    ]


def decoded(lines: list[bytes], first: int) -> Decoded:
    return Decoder("zeek:0", Context("UTC", None)).decode(Block("zeek:0", first, lines))


def main() -> None:
    """Write the checkpoint of today's format."""
    engine, lines = Engine(SETTINGS), history()
    engine.push(decoded(lines, 0))
    state = engine.snapshot()
    origin = Origin(CLUSTER, TOPICS, engine.fingerprint)
    found = Checkpoints(FolderStore(FOLDER), "golden")
    found.latest(origin, allow_cold_start=True)
    found.write(
        Checkpoint(
            state,
            origin,
            position=engine.accounting.rows,
            offsets={"zeek": {0: len(lines)}},
            outbox=0,
            counters={"scored": engine.accounting.scored},
            watermark=(BEGIN + 3600 * (HOURS - 1)) * 1_000_000,
        )
    )


if __name__ == "__main__":
    main()

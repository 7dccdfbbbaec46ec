"""Small logs, and the inventory of them."""

import gzip
import json
from pathlib import Path

from detector.assets.plant import Plant
from detector.config import Settings
from detector.inventory.run import inventory

DAY = 1_767_600_000.0  # 2026-01-05, epoch seconds


def conn(orig, resp, port, **more):
    """A line of conn.log: an answered conversation unless told otherwise."""
    values = {"ts": DAY, "uid": f"C{orig}{resp}{port}", "proto": "tcp", "conn_state": "SF", "duration": 1.0}
    values |= {"id.orig_h": orig, "id.orig_p": 50_000, "id.resp_h": resp, "id.resp_p": port}
    return values | {"orig_bytes": 10, "resp_bytes": 10, "orig_pkts": 2, "resp_pkts": 2} | more


def row(orig, resp, port=80, **more):
    """A line of a protocol log."""
    return {"ts": DAY, "uid": "C1", "id.orig_h": orig, "id.orig_p": 50_000, "id.resp_h": resp, "id.resp_p": port} | more


def write(folder: Path, **logs):
    """Each log as a gzip file of JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in logs.items():
        text = "".join(json.dumps(line) + "\n" for line in rows)
        (folder / f"{name}.log.gz").write_bytes(gzip.compress(text.encode()))
    return folder


def take(folder: Path, plant=None, declared=(), known=None, batch_rows=50_000, **logs):
    """The inventory of these logs, and its assets by address."""
    write(folder / "logs", **logs)
    settings, made = Settings(batch_rows=batch_rows), Plant.model_validate(plant or {})
    result = inventory([folder / "logs"], folder / "out", settings, plant=made, declared=declared, known=known)
    return result, {asset.address: asset for asset in result.assets}

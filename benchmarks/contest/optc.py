"""DARPA OpTC (https://github.com/FiveDirections/OpTC-data), for who has it: host events of 1,000 Windows clients.

Either the raw events, a folder of ``*.json.gz`` (eCAR, one JSON object a line) with the labels of cl-anssi/LMDEval
beside them in ``optc_redteam.csv`` (columns ``id,description,label``). Read are events with ``"object":"FLOW"`` and
``"action":"START"``; of them ``id``, ``timestamp`` (ISO 8601), ``hostname`` and, in ``properties``, ``src_ip``,
``src_port``, ``dest_ip``, ``dest_port``, ``l4protocol`` (a number). Only rows labelled "Lateral movement" are attacks.

Or what LMDEval makes of them, ``optc.csv.gz``: ``timestamp,src,dst,src_port,dst_port,proto,label`` with a header,
seconds from 0, names or addresses.
"""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import polars as pl

from detector.backtest.labels import Label, parse_time
from detector.formats.address import canonical
from detector.normalize.spool import Spool
from detector.records import FLOW, Decoded

from .lines import lines_of
from .names import Names

EPOCH: Final = 1_568_678_400  # s, 2019-09-17, when the benign days began; LMDEval counts from the first event
BLOCK_LINES: Final = 500_000
REDTEAM: Final = "optc_redteam.csv"
MOVED: Final = "Lateral movement"
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
_FLOW_START: Final = (b'"object":"FLOW"', b'"action":"START"')

Row = dict[str, Any]


class Optc:
    """A reading of the set: `events` once, then ``labels`` holds the attacks that came by.

    Args:
        path: the folder of raw events, or LMDEval's CSV.
        spool: where raw events are put in order; the CSV is in order already.
    """

    def __init__(self, path: Path, spool: Spool) -> None:
        self.path, self.spool = path, spool
        self.labels: list[Label] = []
        self._names = Names()

    def events(self) -> Iterator[Decoded]:
        """Flows in order of time."""
        if self.path.is_dir():
            moves = _moves(self.path / REDTEAM)
            for file in sorted(self.path.rglob("*.json*")):
                for rows in _blocks(self._raw(file, moves)):
                    self.spool.add(Decoded(_frame(rows)))
            yield from self.spool.batches(BLOCK_LINES)
        else:
            yield from (Decoded(_frame(rows)) for rows in _blocks(self._csv()))

    def _raw(self, file: Path, moves: dict[str, str]) -> Iterator[Row]:
        for position, line in enumerate(lines_of(file), 1):
            if all(mark in line for mark in _FLOW_START):
                row = _of_event(orjson.loads(line)) | {"source": file.name, "position": position}
                if row["orig_h"] is not None and row["resp_h"] is not None:
                    self._label(row, moves.get(row.pop("id")))
                    yield row

    def _csv(self) -> Iterator[Row]:
        texts = (line.decode() for line in lines_of(self.path))
        for position, cells in enumerate(csv.DictReader(texts), 2):
            row = {
                "ts": (EPOCH + int(float(cells["timestamp"]))) * 1_000_000,
                "orig_h": self._names[cells["src"]],
                "resp_h": self._names[cells["dst"]],
                "orig_p": int(cells["src_port"]),
                "resp_p": int(cells["dst_port"]),
                "proto": _protocol(int(cells["proto"])),
                "source": self.path.name,
                "position": position,
            }
            self._label(row, "red team" if cells["label"] == "1" else None)
            yield row

    def _label(self, row: Row, campaign: str | None) -> None:
        if campaign is not None:
            self.labels.append(Label(campaign, row["ts"], row["ts"], row["orig_h"], row["resp_h"], None))


def _of_event(event: Row) -> Row:
    """A FLOW START event; both ends may report one flow, told apart by ``exporter``."""
    about = event["properties"]
    return {
        "id": event["id"],
        "ts": parse_time(event["timestamp"]),
        "exporter": event["hostname"],
        "orig_h": canonical(about["src_ip"]),
        "resp_h": canonical(about["dest_ip"]),
        "orig_p": int(about["src_port"]),
        "resp_p": int(about["dest_port"]),
        "proto": _protocol(int(about["l4protocol"])),
    }


def _protocol(number: int) -> str:
    return _PROTOCOLS.get(number, f"ip/{number}")


def _moves(file: Path) -> dict[str, str]:
    """Event id -> campaign, the day of the exercise: the part of the description before " - "."""
    with file.open(encoding="utf-8", newline="") as opened:
        rows = csv.DictReader(opened)
        return {row["id"]: row["description"].split(" - ")[0] for row in rows if row["label"] == MOVED}


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while block := list(islice(rows, BLOCK_LINES)):
        yield block


def _frame(rows: list[Row]) -> pl.DataFrame:
    known: Row = {"oriented": True, "sampling": 1, "log": "optc"}
    complete = [known | row | {"obs_ts": row["ts"]} for row in rows]
    return pl.DataFrame(complete, schema=FLOW)

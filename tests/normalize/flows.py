"""Rows as decoders make them, and the way from rows to conversations in scoring order."""

from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from detector.normalize.direction import Direction
from detector.normalize.order import Order
from detector.records import FLOW, Decoded
from detector.rows import Rows

SECOND = 1_000_000
WINDOW = 2 * SECOND
SYN, SYN_ACK, RST_ACK, WHOLE = 0x02, 0x12, 0x14, 0x1B


def _ends(orig: str, resp: str) -> dict[str, Any]:
    sides = {}
    for side, text in (("orig", orig), ("resp", resp)):
        host, _, port = text.rpartition(":")
        sides |= {f"{side}_h": host, f"{side}_p": int(port) if port else None}
    return sides


def half(orig: str, resp: str, *, ts: float = 0.0, length: float = 0.1, **more: Any) -> dict[str, Any]:
    """A record of one direction as an exporter sees it; times in seconds."""
    begin = round(ts * SECOND)
    row = {"ts": begin, "obs_ts": begin + round(length * SECOND), "duration": length, **_ends(orig, resp)}
    row |= {"proto": "tcp", "orig_bytes": 300, "orig_pkts": 3, "oriented": False, "exporter": "10.255.0.1"}
    return {**row, "sampling": 1, "log": "netflow.goflow2", "source": "f", "position": 1, **more}


def conn(orig: str, resp: str, *, ts: float = 0.0, length: float = 0.1, **more: Any) -> dict[str, Any]:
    """A connection as Zeek sees it; times in seconds."""
    told = {"oriented": True, "exporter": None, "conn_state": "SF", "resp_bytes": 300, "resp_pkts": 3}
    return half(orig, resp, ts=ts, length=length, **{**told, "log": "zeek.conn", **more})


def frame(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame([{**dict.fromkeys(FLOW), **row} for row in rows], schema=FLOW)


def cut(rows: Sequence[Any], places: Iterable[int]) -> list[Sequence[Any]]:
    """The rows in pieces that end at the places."""
    ends = [*sorted(place % (len(rows) + 1) for place in places), len(rows)]
    return [rows[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


def released(batches: Iterable[Sequence[dict[str, Any]]], window: int = WINDOW) -> list[pl.DataFrame]:
    """What leaves the buffer after each batch and at the end."""
    order = Order(window)
    out = []
    for rows in batches:
        left = order.push([Decoded(frame(rows))])
        out.append(Rows.concat([part.flows for part in left or [Order(window).flush()]]).frame())
    return [*out, order.flush().flows.frame()]


def at_once(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """All rows in one batch, nothing waits."""
    order = Order(WINDOW)
    return Rows.concat([part.flows for part in (*order.push([Decoded(frame(rows))]), order.flush())]).frame()


def oriented(*rows: dict[str, Any], direction: Direction | None = None) -> pl.DataFrame:
    """Rows as whole conversations, originator first."""
    return (direction or Direction()).orient(Rows.of(at_once(rows))).frame()


def ends(flows: pl.DataFrame) -> list[str]:
    """``originator -> responder`` of each row."""
    columns = flows.select("orig_h", "orig_p", "resp_h", "resp_p").iter_rows()
    return [f"{a}:{b} -> {c}:{d}" for a, b, c, d in columns]

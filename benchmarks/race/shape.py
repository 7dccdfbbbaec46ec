"""Made flows of a stated shape: the same shape and seed give the same rows, whatever part of them is asked for.

Hosts hold some edges, each with one service; few edges carry most rows, few hosts hold most edges. Some rows are the
first of a pair nobody saw before. A history teaches every edge once, in the week before the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.records import FLOW

START_US: Final = 1_760_000_000_000_000  # 2025-10-09: when the stream begins
WEEK_US: Final = 7 * 86_400_000_000
GAP_US: Final = 2 * 3_600_000_000  # between history and stream: models count hours, so each edge is due again
CHUNK: Final = 100_000  # rows drawn from one seed
LEAD_SECONDS: Final = 250  # of the stream before anything is timed: edges are in use, as they are at any later time
WAITING_SECONDS: Final = 5  # of them that are taught row by row: more than rows wait to be put in order
SERVICES: Final = (
    ("tcp", 443), ("tcp", 445), ("udp", 53), ("tcp", 80), ("tcp", 389), ("tcp", 88), ("tcp", 135), ("tcp", 3389),
    ("udp", 123), ("tcp", 1433), ("tcp", 22), ("tcp", 8080), ("udp", 161), ("tcp", 9100), ("tcp", 502), ("tcp", 102),
)  # fmt: skip
NAMES: Final = {53: "dns", 80: "http", 88: "krb_tcp", 135: "dce_rpc", 389: "ldap_tcp", 443: "ssl", 445: "smb"}
"""What Zeek's analyzers call some of the services."""
IPV6_SHARE: Final = 0.05
OUTSIDE_SHARE: Final = 0.02
ATTEMPT_SHARE: Final = 0.08  # of the edges nobody ever answers on: their lines lack duration and bytes
NAMED_SHARE: Final = 0.7  # of the edges whose lines carry a service, where Zeek has a name for it
ESCAPED_SHARE: Final = 0.005  # of the lines that carry `TAP`
TAP: Final = 'tap "north" \\3'
"""A sensor's name that JSON and tab-separated logs have to escape."""
_PAIR: Final = ("orig_h", "resp_h", "resp_p")
_HOST_SKEW, _PEER_SKEW, _ROW_SKEW = 0.6, 0.9, 0.9  # exponents of Zipf's law: originators, responders, rows of edges


@dataclass(frozen=True, slots=True)
class Shape:
    """What is made.

    Args:
        rows: of the stream; Parquet has all of them.
        lines: rows that are written as text too.
        hosts: addresses.
        edges: distinct pairs of them that the history knows.
        novel: share of rows that are the first of a new pair.
        per_second: rows a second of the stream's own time.
    """

    rows: int = 10_000_000
    lines: int = 500_000
    hosts: int = 20_000
    edges: int = 330_000
    novel: float = 0.005
    per_second: int = 20_000
    seed: int = 4

    @property
    def lead(self) -> int:
        """Rows of the stream before the first one that is timed."""
        return LEAD_SECONDS * self.per_second


@dataclass(frozen=True, slots=True)
class Edges:
    """One entry an edge: positions of both hosts and of the service, whether nobody answers, whether Zeek names it."""

    orig: NDArray[np.int64]
    resp: NDArray[np.int64]
    service: NDArray[np.int64]
    attempt: NDArray[np.bool_]
    named: NDArray[np.bool_]


class Network:
    """The hosts and edges of a shape, and its rows."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.addresses = _addresses(shape.hosts)
        draw = np.random.default_rng([shape.seed, 0])
        self._served = draw.permutation(np.arange(shape.hosts) % len(SERVICES))
        pairs = _pairs(shape, draw)
        self.edges = self._edges(pairs, draw)
        self._known = np.sort(pairs)
        self._heavy = np.cumsum(_zipf(shape.edges, _ROW_SKEW))

    def history(self) -> pl.DataFrame:
        """Every edge once, in any order, in the week before the stream; columns of `records.FLOW`."""
        draw = np.random.default_rng([self.shape.seed, 1])
        ends = START_US - GAP_US - np.sort(draw.integers(0, WEEK_US, self.shape.edges))[::-1]
        return self._frame(_taken(self.edges, draw.permutation(self.shape.edges)), ends, draw, 0)

    def flows(self, start: int, stop: int) -> pl.DataFrame:
        """Rows ``start`` to ``stop`` of the stream, in order of their ends; columns of `records.FLOW`."""
        parts = [
            self._chunk(number)[max(start - number * CHUNK, 0) : stop - number * CHUNK]
            for number in range(start // CHUNK, -(-stop // CHUNK))
        ]
        return pl.concat(parts)

    def lately(self) -> pl.DataFrame:
        """What comes before the rows that are timed, in short: the latest row of every pair, then the last seconds."""
        begin = self.shape.lead - WAITING_SECONDS * self.shape.per_second
        latest = self.flows(0, 1)
        for piece in self.pieces(0, begin):
            latest = pl.concat([latest, piece]).unique(_PAIR, keep="last", maintain_order=True)
        return pl.concat([latest.sort("obs_ts", maintain_order=True), self.flows(begin, self.shape.lead)])

    def pieces(self, start: int, stop: int) -> Iterator[pl.DataFrame]:
        """The same, a chunk at a time."""
        for at in range(start, stop, CHUNK):
            yield self.flows(at, min(at + CHUNK, stop))

    @cached_property
    def _texts(self) -> dict[str, pl.Series]:
        return {
            "host": pl.Series(self.addresses),
            "proto": pl.Series([proto for proto, _ in SERVICES]),
            "name": pl.Series([NAMES.get(port) for _, port in SERVICES]),
        }

    def _edges(self, pairs: NDArray[np.int64], draw: np.random.Generator) -> Edges:
        orig, resp = np.divmod(pairs, self.shape.hosts)
        attempt = draw.random(pairs.size) < ATTEMPT_SHARE
        return Edges(orig, resp, self._served[resp], attempt, draw.random(pairs.size) < NAMED_SHARE)

    def _chunk(self, number: int) -> pl.DataFrame:
        draw = np.random.default_rng([self.shape.seed, 2, number])
        rows = np.searchsorted(self._heavy, draw.random(CHUNK) * self._heavy[-1], side="right")
        new = np.flatnonzero(draw.random(CHUNK) < self.shape.novel)
        known, novel = _taken(self.edges, rows), self._edges(self._novel(new.size, draw), draw)
        for column in Edges.__dataclass_fields__:
            getattr(known, column)[new] = getattr(novel, column)
        span = CHUNK * 1_000_000 // self.shape.per_second
        ends = START_US + number * span + np.sort(draw.integers(0, span, CHUNK))
        return self._frame(known, ends, draw, number * CHUNK)

    def _novel(self, count: int, draw: np.random.Generator) -> NDArray[np.int64]:
        """Pairs that are no edges."""
        found = draw.integers(0, self.shape.hosts**2, 4 * count + 8)
        at = np.minimum(np.searchsorted(self._known, found), self._known.size - 1)
        fresh = found[(self._known[at] != found) & (found // self.shape.hosts != found % self.shape.hosts)]
        if fresh.size < count:
            raise ValueError("so dense a network has no new pairs")
        chosen: NDArray[np.int64] = fresh[:count]
        return chosen

    def _frame(self, edges: Edges, ends: NDArray[np.int64], draw: np.random.Generator, first: int) -> pl.DataFrame:
        """The rows of some edges that end at ``ends``, µs."""
        count, there = ends.size, pl.Series(~edges.attempt)
        spans = draw.exponential(400_000, count).astype(np.int64)  # µs
        texts, ports = self._texts, np.array([port for _, port in SERVICES])
        sizes = np.minimum(draw.lognormal(7.0, 2.0, (2, count)), 1e12).astype(np.int64)
        given: dict[str, Any] = {
            "ts": ends - np.where(edges.attempt, 0, spans),
            "obs_ts": ends,
            "uid": _uids(draw, count),
            "orig_h": texts["host"][edges.orig],
            "orig_p": draw.integers(32_768, 61_000, count),  # as Linux chooses them
            "resp_h": texts["host"][edges.resp],
            "resp_p": ports[edges.service],
            "proto": texts["proto"][edges.service],
            "service": _kept(texts["name"][edges.service], pl.Series(edges.named & ~edges.attempt)),
            "conn_state": pl.Series(["SF", "S0"])[edges.attempt.astype(np.int64)],
            "duration": _kept(pl.Series(spans / 1e6), there),
            "orig_bytes": _kept(pl.Series(sizes[0]), there),
            "resp_bytes": _kept(pl.Series(sizes[1]), there),
            "orig_pkts": np.where(edges.attempt, 1, 2 + sizes[0] // 1000),
            "resp_pkts": np.where(edges.attempt, 0, 2 + sizes[1] // 1000),
            "oriented": np.ones(count, dtype=np.bool_),
            "exporter": pl.Series([None, TAP])[(draw.random(count) < ESCAPED_SHARE).astype(np.int64)],
            "sampling": np.ones(count, dtype=np.int64),
            "log": pl.Series(["zeek.conn"]).new_from_index(0, count),
            "source": pl.Series(["conn.log"]).new_from_index(0, count),
            "position": np.arange(first, first + count),
        }
        empty = pl.Series([None]).new_from_index(0, count)
        columns = {name: pl.Series(given.get(name, empty)).cast(kind) for name, kind in FLOW.items()}
        return pl.DataFrame(columns)


def _addresses(count: int) -> list[str]:
    """One in `IPV6_SHARE` is IPv6 of a site (RFC 4193), one in `OUTSIDE_SHARE` lies outside, all texts canonical."""
    made = []
    for host in range(count):
        high, low = divmod(host, 250)
        if host % round(1 / IPV6_SHARE) == 7:
            made.append(f"fd12:3456:{high + 1:x}::{low + 1:x}")
        elif host % round(1 / OUTSIDE_SHARE) == 11:
            made.append(f"{20 + high % 50}.{high // 50}.7.{low + 1}")
        else:
            made.append(f"10.{high // 200}.{high % 200}.{low + 1}")
    return made


def _zipf(count: int, skew: float) -> NDArray[np.float64]:
    weights: NDArray[np.float64] = np.arange(1, count + 1, dtype=np.float64) ** -skew
    return weights


def _pairs(shape: Shape, draw: np.random.Generator) -> NDArray[np.int64]:
    """Distinct pairs of two hosts each, as ``orig * hosts + resp``, in any order."""
    weights = [np.cumsum(_zipf(shape.hosts, skew)) for skew in (_HOST_SKEW, _PEER_SKEW)]
    ranks = [draw.permutation(shape.hosts) for _ in weights]
    pairs = np.empty(0, dtype=np.int64)
    while pairs.size < shape.edges:
        orig, resp = (
            rank[np.searchsorted(weight, draw.random(shape.edges) * weight[-1])]
            for rank, weight in zip(ranks, weights, strict=True)
        )
        pairs = np.unique(np.concatenate([pairs, (orig * shape.hosts + resp)[orig != resp]]))
    return draw.permutation(pairs)[: shape.edges]


def _taken(edges: Edges, rows: NDArray[np.int64]) -> Edges:
    return Edges(*(getattr(edges, name)[rows] for name in Edges.__dataclass_fields__))


def _kept(values: pl.Series, where: pl.Series) -> pl.Series:
    """The values, null elsewhere."""
    return pl.select(pl.when(where).then(values)).to_series()


def _uids(draw: np.random.Generator, count: int) -> pl.Series:
    """As Zeek makes them: C and some seventeen letters and digits."""
    letters = np.frombuffer(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", np.uint8)
    text = letters[draw.integers(0, letters.size, (count, 18))]
    text[:, 0] = ord("C")
    return pl.Series(text.view("S18").ravel().astype("U18"))

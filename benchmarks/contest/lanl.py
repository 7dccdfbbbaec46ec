"""LANL's "Comprehensive, multi-source cyber-security events" (https://csr.lanl.gov/data/cyber1/), for who has it.

A folder with three of its files, gzip or plain, lines without header, in order of time (seconds from 1):

    auth.txt.gz     time,source user@domain,destination user@domain,source computer,destination computer,
                    authentication type,logon type,authentication orientation,success/failure
    flows.txt.gz    time,duration,source computer,source port,destination computer,destination port,protocol,
                    packet count,byte count                                (ports may be names: N10)
    redteam.txt.gz  time,user@domain,source computer,destination computer

Log-ons from another computer become operations, flows flows; flows.txt.gz may be missing. It is 58 days and 1.2 billion
rows: hours of work. ``EPOCH`` is made up, as LANL does not tell when it was.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import polars as pl

from detector.backtest.labels import Label
from detector.records import FLOW, OPERATION, Decoded

from .lines import lines_of
from .names import Names

EPOCH: Final = 1_420_416_000  # s, 2015-01-05, a Monday
BLOCK_LINES: Final = 500_000
_AUTH: Final = ("time", "orig_user", "resp_user", "orig", "resp", "kind", "logon", "orientation", "outcome")
_FLOWS: Final = ("time", "duration", "orig", "orig_p", "resp", "resp_p", "proto", "packets", "bytes")
_RED: Final = ("time", "user", "orig", "resp")
_PROTOCOLS: Final = {"1": "icmp", "6": "tcp", "17": "udp", "58": "ipv6-icmp"}


def events(folder: Path, names: Names) -> Iterator[Decoded]:
    """All events in order of time; memory holds two blocks."""
    flows = _blocks(folder, "flows.txt", _FLOWS)
    logons = _blocks(folder, "auth.txt", _AUTH)
    yield from in_step(
        (Decoded(flows=flows_of(block, names)) for block in flows),
        (Decoded(operations=logons_of(block, names)) for block in logons),
    )


def redteam(folder: Path, names: Names) -> list[Label]:
    """The red team's moves; those from one computer are one campaign."""
    blocks = list(_blocks(folder, "redteam.txt", _RED))
    return [
        Label(f"from {source}", at, at, names[source], names[target], None)
        for block in blocks
        for at, source, target in block.select(_micros(), "orig", "resp").iter_rows()
    ]


def logons_of(lines: pl.DataFrame, names: Names) -> pl.DataFrame:
    """Log-ons from another computer, as operations ``<type>:<logon type>`` of the protocol ``logon``."""
    remote = lines.filter((pl.col("orientation") == "LogOn") & (pl.col("orig") != pl.col("resp")))
    return _frame(
        remote.with_columns(_micros()),
        OPERATION,
        names,
        protocol=pl.lit("logon"),
        operation=pl.concat_str("kind", "logon", separator=":"),
        outcome=pl.when(pl.col("outcome") == "Success").then(pl.lit("ok")).otherwise(pl.lit("failed")),
        user="resp_user",
        log=pl.lit("lanl.auth"),
    )


def flows_of(lines: pl.DataFrame, names: Names) -> pl.DataFrame:
    """Flows, one direction each; they count as seen when they began, as the file is in that order."""
    return _frame(
        lines.with_columns(_micros()),
        FLOW,
        names,
        orig_p=pl.col("orig_p").str.strip_prefix("N").cast(pl.Int32, strict=False),
        resp_p=pl.col("resp_p").str.strip_prefix("N").cast(pl.Int32, strict=False),
        proto=pl.col("proto").replace_strict(_PROTOCOLS, default="ip/" + pl.col("proto")),
        duration=pl.col("duration").cast(pl.Float64, strict=False),
        orig_pkts=pl.col("packets").cast(pl.Int64, strict=False),
        orig_bytes=pl.col("bytes").cast(pl.Int64, strict=False),
        oriented=pl.lit(True),
        sampling=pl.lit(1),
        log=pl.lit("lanl.flows"),
    )


def in_step(left: Iterator[Decoded], right: Iterator[Decoded]) -> Iterator[Decoded]:
    """Two streams as one: each piece reaches as far as both are known."""
    streams, held = (left, right), [Decoded(), Decoded()]
    known: list[int | None] = [-1, -1]  # observation time up to which a stream has been read; None = to its end
    while any(time is not None for time in known):
        behind = min((side for side in (0, 1) if known[side] is not None), key=lambda side: known[side] or 0)
        piece = next(streams[behind], None)
        if piece is None:
            known[behind] = None
        else:
            known[behind] = max(known[behind] or 0, *_last(piece))
            held[behind] = _joined(held[behind], piece)
        cut = min((time for time in known if time is not None), default=None)
        ready = [_cut(part, cut, before=True) for part in held]
        held = [_cut(part, cut, before=False) for part in held]
        yield _joined(*ready)


def _last(piece: Decoded) -> list[int]:
    return [int(frame["obs_ts"][-1]) if frame.height else 0 for frame in (piece.flows, piece.operations)]


def _joined(one: Decoded, other: Decoded) -> Decoded:
    return Decoded(pl.concat([one.flows, other.flows]), pl.concat([one.operations, other.operations]))


def _cut(piece: Decoded, time: int | None, *, before: bool) -> Decoded:
    """The rows before a time, or from it on; None = the end of everything."""
    kept = pl.lit(time is None) | (pl.col("obs_ts") < (time or 0))
    kept = kept if before else ~kept
    return Decoded(piece.flows.filter(kept), piece.operations.filter(kept))


def _frame(lines: pl.DataFrame, schema: dict[str, pl.DataType], names: Names, **known: pl.Expr | str) -> pl.DataFrame:
    hosts = {
        f"{side}_h": pl.Series([names[name] for name in lines[side]], dtype=pl.String) for side in ("orig", "resp")
    }
    own = lines.select(ts="time", obs_ts="time", source=pl.lit("lanl"), position="line", **known).with_columns(**hosts)
    empty = [pl.lit(None).alias(name) for name in schema if name not in own.columns]
    return own.with_columns(empty).select(pl.col(name).cast(kind) for name, kind in schema.items())


def _micros() -> pl.Expr:
    return ((pl.col("time").cast(pl.Int64) + EPOCH) * 1_000_000).alias("time")


def _blocks(folder: Path, name: str, columns: tuple[str, ...]) -> Iterator[pl.DataFrame]:
    """The lines of a file, text columns and ``line`` (from 1); nothing when there is no such file."""
    file = next((path for path in (folder / f"{name}.gz", folder / name) if path.exists()), None)
    if file is None:
        return
    every, line = lines_of(file), 1
    while lines := b"".join(islice(every, BLOCK_LINES)):
        block = pl.read_csv(lines, has_header=False, new_columns=list(columns), infer_schema=False, quote_char=None)
        yield block.with_columns(line=pl.int_range(line, line + block.height))
        line += block.height

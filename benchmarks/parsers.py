"""Rows a second of the decoders, on clean lines and with 1 % hostile lines among them.

Both kinds take turns in one run, so that a busy machine slows both. The exit status is 1 when the hostile
lines cost 30 % or more of the rate: whoever can write to a sensor's log must not be able to slow the
watcher down.

    python benchmarks/parsers.py --rows 40000
"""

import io
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Annotated

import orjson
import polars as pl
import typer
from rich.console import Console
from rich.table import Table

from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.formats.goflow2_protobuf import _Flow
from detector.records import Block

BLOCK = 8192  # lines, as the file source makes them
HOSTILE_EVERY = 100  # lines
COST_LIMIT = 0.30
START = 1_760_000_000  # s, 2025-10-09

Maker = Callable[[random.Random, int], bytes]


@dataclass
class Lines:
    """One format's made-up lines and the seconds each pass over them took."""

    name: str
    clean: list[bytes]
    hostile: list[bytes]
    clean_s: list[float] = field(default_factory=list)
    hostile_s: list[float] = field(default_factory=list)

    def cost(self) -> float:
        """Share of the rate that the hostile lines take, median over the passes."""
        return 1 - median(c / h for c, h in zip(self.clean_s, self.hostile_s, strict=True))


def host(random: random.Random) -> str:
    """An address out of some 60,000."""
    return f"10.{random.randrange(4)}.{random.randrange(64)}.{random.randrange(1, 250)}"


def zeek(random: random.Random, number: int) -> bytes:
    """A conn.log record as Zeek 6 writes it."""
    return orjson.dumps(
        {
            "ts": START + number / 1000,
            "uid": f"C{random.getrandbits(90):018x}",
            "id.orig_h": host(random),
            "id.orig_p": random.randrange(1024, 65536),
            "id.resp_h": host(random),
            "id.resp_p": random.choice((445, 135, 502, 53, 3389)),
            "proto": "tcp",
            "duration": random.random(),
            "orig_bytes": random.randrange(10**6),
            "resp_bytes": random.randrange(10**6),
            "conn_state": "SF",
            "missed_bytes": 0,
            "history": "ShADadFf",
            "orig_pkts": random.randrange(1000),
            "orig_ip_bytes": random.randrange(10**6),
            "resp_pkts": random.randrange(1000),
            "resp_ip_bytes": random.randrange(10**6),
        }
    )


def flow(random: random.Random, number: int) -> dict[str, int]:
    """The numbers of a flow as goflow2 names them."""
    end = (START * 1000 + number) * 1_000_000
    return {
        "sequence_num": number,
        "sampling_rate": 1,
        "time_received_ns": end + 10**9,
        "time_flow_start_ns": end - random.randrange(10**9),
        "time_flow_end_ns": end,
        "bytes": random.randrange(10**6),
        "packets": random.randrange(1, 1000),
        "src_port": random.randrange(1024, 65536),
        "dst_port": random.choice((445, 135, 502, 53, 3389)),
        "tcp_flags": 27,
        "in_if": 3,
        "out_if": 4,
    }


def goflow2(random: random.Random, number: int) -> bytes:
    """goflow2's JSON."""
    texts = {"src_addr": host(random), "dst_addr": host(random), "sampler_address": "192.0.2.1"}
    return orjson.dumps(
        {"type": "NETFLOW_V9", **flow(random, number), **texts, "etype": "IPv4", "proto": "TCP"}
        | {"src_mac": "00:00:5e:00:53:01", "dst_mac": "00:00:5e:00:53:02", "src_net": "10.0.0.0/8"}
    )


def protobuf(random: random.Random, number: int) -> bytes:
    """goflow2's length-prefixed message."""
    addresses = {
        "src_addr": packed(host(random)),
        "dst_addr": packed(host(random)),
        "sampler_address": bytes(4),
    }
    wire: bytes = _Flow(type=3, proto=6, etype=2048, **flow(random, number), **addresses).SerializeToString()
    return varint(len(wire)) + wire


def varint(number: int) -> bytes:
    """A length below 2**14 as protobuf writes it."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128, number >> 7])


def packed(address: str) -> bytes:
    """The four bytes of an address."""
    return bytes(map(int, address.split(".")))


def pmacct(random: random.Random, number: int) -> bytes:
    """nfacctd's JSON with default time stamps."""
    start = START + number / 1000
    return orjson.dumps(
        {
            "event_type": "purge",
            "peer_ip_src": "192.0.2.1",
            "ip_src": host(random),
            "ip_dst": host(random),
            "port_src": random.randrange(1024, 65536),
            "port_dst": random.choice((445, 135, 502, 53, 3389)),
            "tcp_flags": ["ACK", "SYN"],
            "ip_proto": "tcp",
            "timestamp_start": f"{start:.6f}",
            "timestamp_end": f"{start + random.random():.6f}",
            "packets": random.randrange(1, 1000),
            "bytes": random.randrange(10**6),
            "writer_id": "default_kafka",
        }
    )


NFDUMP_HEADER = (
    b"ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out,sas,das,smk,dmk,dtos,dir,nh,nhb,svln,dvln,"
    b"ismc,odmc,idmc,osmc,mpls1,mpls2,mpls3,mpls4,mpls5,mpls6,mpls7,mpls8,mpls9,mpls10,cl,sl,al,ra,eng,exid,tr"
)


def nfdump(random: random.Random, number: int) -> bytes:
    """A row of the 48-column CSV."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(START + number / 1000))
    mac = "00:00:00:00:00:00"
    cells = [moment, moment, "0.412", host(random), host(random), random.randrange(1024, 65536), 445, "TCP"]
    cells += [
        "...AP.SF",
        0,
        0,
        random.randrange(1, 1000),
        random.randrange(10**6),
        0,
        0,
        3,
        4,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
    cells += ["0.0.0.0", "0.0.0.0", 0, 0, mac, mac, mac, mac, *["0-0-0"] * 10, *["    0.000"] * 3]  # noqa: S104
    cells += ["192.0.2.1", "0/0", 1, moment + ".500"]
    return ",".join(map(str, cells)).encode()


FORMATS: dict[str, Maker] = {
    "zeek conn JSON": zeek,
    "goflow2 JSON": goflow2,
    "goflow2 protobuf": protobuf,
    "pmacct JSON": pmacct,
    "nfdump CSV": nfdump,
}


def damaged(random: random.Random, line: bytes, number: int) -> bytes:
    """What a line becomes in the hands of an attacker, or of a full disk."""
    middle = len(line) // 2
    match number % 6:
        case 0:
            return line[:middle]
        case 1:
            return line[:middle] + b"\xff\xfe" + line[middle:]
        case 2:
            return line.replace(b"10.", b"10.999.", 1)
        case 3:
            return line.replace(b"445", b"99999999999999999999999", 1).replace(b"502", b"-1", 1)
        case 4:
            return b'{"a":' * 200 + b"1" + b"}" * 200
        case _:
            # Never a line that starts with #: a header is no record, and the count would be one short.
            return random.choice((b"?", b"\xfe")) + random.randbytes(len(line)).replace(b"\n", b" ")


def made(name: str, rows: int) -> Lines:
    """Lines of a format, alike in every run."""
    generator = random.Random(name)
    clean = [FORMATS[name](generator, number) for number in range(rows)]
    hostile = [
        damaged(generator, line, number // HOSTILE_EVERY) if number % HOSTILE_EVERY == 0 else line
        for number, line in enumerate(clean)
    ]
    return Lines(name, clean, hostile)


def seconds(name: str, lines: list[bytes]) -> float:
    """Time of one pass; every line must be accounted for."""
    decoder = Decoder("lines", Context())
    if name == "nfdump CSV":
        decoder.decode(Block("lines", 0, [NFDUMP_HEADER]))
    blocks = [Block("lines", at, lines[at : at + BLOCK]) for at in range(0, len(lines), BLOCK)]
    begin = time.perf_counter()
    rows = sum(decoder.decode(block).rows for block in blocks)
    taken = time.perf_counter() - begin
    assert rows == len(lines), f"{name}: {rows} of {len(lines)} lines accounted for"
    return taken


def yardsticks(lines: Lines) -> dict[str, float]:
    """Seconds to find the line feeds, and for Polars to read the JSON without checking anything."""
    whole = b"\n".join(lines.clean)
    begin = time.perf_counter()
    assert whole.count(b"\n") >= len(lines.clean) - 1
    found = {"newline count": time.perf_counter() - begin}
    if "JSON" in lines.name:
        first = orjson.loads(lines.clean[0])
        kinds = {str: pl.String(), int: pl.Int64(), float: pl.Float64(), list: pl.List(pl.String())}
        schema = {key: kinds[type(value)] for key, value in first.items()}
        begin = time.perf_counter()
        assert pl.read_ndjson(io.BytesIO(whole), schema=schema).height == len(lines.clean)
        found["polars read_ndjson"] = time.perf_counter() - begin
    return found


def rate(rows: int, taken: float) -> str:
    """Rows a second, for people."""
    return f"{rows / taken:,.0f}"


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Lines of each format.")] = 40_000,
    passes: Annotated[int, typer.Option(min=1, help="Turns that clean and hostile lines take.")] = 5,
) -> None:
    """Print the rates, and fail when hostile lines cost too much."""
    table = Table("format", "clean rows/s", "1 % hostile rows/s", "cost", "newline count", "polars read_ndjson")
    worst = 0.0
    for name in FORMATS:
        lines = made(name, rows)
        seconds(name, lines.clean[:BLOCK])
        for _ in range(passes):
            lines.clean_s.append(seconds(name, lines.clean))
            lines.hostile_s.append(seconds(name, lines.hostile))
        sticks = yardsticks(lines)
        worst = max(worst, lines.cost())
        table.add_row(
            name,
            rate(rows, median(lines.clean_s)),
            rate(rows, median(lines.hostile_s)),
            f"{lines.cost():.1%}",
            *(rate(rows, sticks[key]) if key in sticks else "" for key in ("newline count", "polars read_ndjson")),
        )
    Console(width=110).print(table)
    if worst >= COST_LIMIT:
        sys.exit(f"hostile lines cost {worst:.0%} of the rate; the limit is {COST_LIMIT:.0%}")


if __name__ == "__main__":
    typer.run(main)

"""Who started it: originator and responder of records whose sensor did not say.

Evidence, strongest first: a broadcast or multicast address, which never begins; a SYN that was never followed by an
ACK, a lone SYN-ACK, a lone refusal; of a pair seen from its SYN, the half that began first; the port that is more a
service's; an endpoint already known to serve; the half that began first without a SYN; the lower port of a pair; the
direction on the wire of a half without partner. What comes after the known endpoints is a guess and is marked so.
"""

from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets.services import RESERVED_PORTS, SERVICE_PORTS
from detector.normalize.pairing import endpoint_keys
from detector.rows import Rows
from detector.state.compiled import kernel
from detector.state.counts import AHEAD, Counts, find, soon

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10  # RFC 9293 3.1
EPHEMERAL_PORTS: Final = 32_768  # from here on systems draw client ports: Linux; IANA and Windows from 49152
CLOCK_GRAIN_US: Final = 1000  # exporters keep flow times in milliseconds
MAX_ENDPOINTS: Final = 1 << 20  # 36 bytes each; when full it keeps what it knows and learns no more
_KEEP, _SWAP, _OPEN = 0, 1, 2

_ASKED: Final = (
    "orig_h", "orig_p", "resp_h", "resp_p", "proto", "orig_pkts", "orig_flags", "resp_flags", "orig_ts", "resp_ts",
)  # fmt: skip
_SWAPPED: Final = [
    ("orig_h", "resp_h"), ("orig_p", "resp_p"), ("orig_bytes", "resp_bytes"), ("orig_pkts", "resp_pkts"),
    ("orig_flags", "resp_flags"), ("orig_ts", "resp_ts"),
]  # fmt: skip


@kernel
def _settle(
    verdict: Any, fallback: Any, obs: Any, first: Any, second: Any, keys: Any, used: Any, limit: Any, guessed: Any
) -> None:
    """Close open verdicts by known endpoints, else by the fallback; learn responders of the sure ones, in time order.

    Rows of one observation time have no order among them, so what is sure of them is learned before the open ones are
    settled: replays and collectors that stamp their own time give thousands of records one time.
    """
    start = 0
    while start < verdict.size:
        stop = start
        while stop < verdict.size and obs[stop] == obs[start]:
            if stop + AHEAD < verdict.size:
                soon(keys, second[stop + AHEAD])
            responder = first[stop] if verdict[stop] == _SWAP else second[stop]
            if verdict[stop] != _OPEN and used[0] < limit:
                slot = find(keys, responder)
                if keys[slot] == np.uint64(0):
                    keys[slot] = responder
                    used[0] += 1
            stop += 1
        for row in range(start, stop):
            if verdict[row] == _OPEN:
                first_serves = keys[find(keys, first[row])] == first[row]
                second_serves = keys[find(keys, second[row])] == second[row]
                guessed[row] = first_serves == second_serves
                verdict[row] = fallback[row] if guessed[row] else _SWAP if first_serves else _KEEP
        start = stop


class Direction:
    """Orients flows; remembers which endpoints serve."""

    def __init__(self) -> None:
        self.endpoints = Counts(MAX_ENDPOINTS)

    def orient(self, flows: Rows) -> Rows:
        """Flows with originator first and ``guessed`` set; rows in time order.

        Needs the columns of `records.FLOW` plus ``orig_ts``, ``resp_ts``: start of each half, µs; None = not seen.
        """
        verdict, fallback = np.full((2, flows.height), _KEEP, dtype=np.int8)
        asked = np.flatnonzero(~flows.array("oriented"))
        if asked.size:  # sensors that follow conversations, such as Zeek, know who began
            told = flows.at(asked).frame(_ASKED).select(verdict=_evidence(), fallback=_fallback())
            verdict[asked], fallback[asked] = told["verdict"].to_numpy(), told["fallback"].to_numpy()
        guessed = np.zeros(flows.height, dtype=np.bool_)
        first, second = endpoint_keys(flows)
        self.endpoints.reserve(flows.height)
        _settle(
            verdict, fallback, flows.array("obs_ts"), first, second, self.endpoints.keys, self.endpoints.used,
            MAX_ENDPOINTS, guessed,
        )  # fmt: skip
        swap = verdict == _SWAP
        return (_swapped(flows, swap) if swap.any() else flows).plus({"guessed": guessed})


def _swapped(flows: Rows, swap: NDArray[np.bool_]) -> Rows:
    """The rows with both sides exchanged where it is so."""
    here, other = pl.Series(swap), {a: b for pair in _SWAPPED for a, b in (pair, pair[::-1])}
    exchanged = [pl.when(here).then(b).otherwise(a).alias(a) for a, b in other.items()]
    return flows.plus(Rows.of(flows.frame(other).with_columns(exchanged)).columns)


def _rank(side: str) -> pl.Expr:
    """How much a port is a service's: 4 named and reserved, 3 named, 2 reserved, 1 named among client ports, 0 none."""
    port = pl.col(f"{side}_p")
    named = pl.lit(False)
    for proto, ports in SERVICE_PORTS.items():
        named = named | ((pl.col("proto") == proto) & port.is_in(sorted(ports)))
    reserved = port.is_between(1, RESERVED_PORTS - 1)
    return (
        pl.when(named & reserved)
        .then(4)
        .when(named & (port < EPHEMERAL_PORTS))
        .then(3)
        .when(reserved)
        .then(2)
        .when(named)
        .then(1)
        .otherwise(0)
    )


def _serves(side: str, other: str) -> pl.Expr:
    """Whether the ports alone say that ``side`` serves. A name on a client port says so only against a client port."""
    rank = _rank(side)
    return (rank > _rank(other)) & ((rank > 1) | (pl.col(f"{other}_p") >= EPHEMERAL_PORTS))


def _group(side: str) -> pl.Expr:
    """Broadcast and multicast addresses, which are only ever spoken to; a TCP peer is neither."""
    address = pl.col(f"{side}_h")
    group = address.str.contains(r"^(2(2[4-9]|3\d)\.|ff[0-9a-f]{2}:)") | address.str.ends_with(".255")
    return group & (pl.col("proto") != "tcp")


def _only_syn(flags: pl.Expr) -> pl.Expr:
    return ((flags & SYN) != 0) & ((flags & ACK) == 0)


def _evidence() -> pl.Expr:
    orig, resp = pl.col("orig_flags").fill_null(0), pl.col("resp_flags").fill_null(0)
    syn_ack = _alone() & (orig == (SYN | ACK)) & (pl.col("orig_pkts") == 1)
    refused = _refused() & (_rank("orig") >= _rank("resp")) & (_rank("orig") > 0)
    whole = ((orig & SYN) != 0) & ((resp & SYN) != 0)
    lead = pl.col("resp_ts") - pl.col("orig_ts")
    return (
        pl.when(_group("resp"))
        .then(_KEEP)
        .when(_group("orig"))
        .then(_SWAP)
        .when(_only_syn(orig))
        .then(_KEEP)
        .when(_only_syn(resp) | syn_ack | refused)
        .then(_SWAP)
        .when(whole & (lead >= CLOCK_GRAIN_US))
        .then(_KEEP)
        .when(whole & (lead <= -CLOCK_GRAIN_US))
        .then(_SWAP)
        .when(_serves("resp", "orig"))
        .then(_KEEP)
        .when(_serves("orig", "resp"))
        .then(_SWAP)
        .otherwise(_OPEN)
    )


def _refused() -> pl.Expr:
    """A half that is nothing but RST and ACK: the answer of a closed port."""
    told = pl.col("orig_flags").fill_null(0) & (FIN | SYN | RST | PSH | ACK)
    return _alone() & (told == (RST | ACK))


def _alone() -> pl.Expr:
    return pl.col("resp_ts").is_null()


def _fallback() -> pl.Expr:
    lead = pl.col("resp_ts") - pl.col("orig_ts")
    orig_p, resp_p = pl.col("orig_p"), pl.col("resp_p")
    half = _refused() | ((orig_p < EPHEMERAL_PORTS) & (resp_p >= EPHEMERAL_PORTS))
    reply = pl.when(_alone()).then(half).otherwise(orig_p < resp_p)
    return (
        pl.when(lead.abs() >= CLOCK_GRAIN_US)
        .then(pl.when(lead > 0).then(_KEEP).otherwise(_SWAP))
        .when(reply.fill_null(False))
        .then(_SWAP)
        .otherwise(_KEEP)
    )

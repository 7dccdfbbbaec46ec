"""Who started it: originator and responder of records whose sensor did not say.

Evidence, strongest first: a SYN that was never followed by an ACK, or a lone RST; of a pair seen from its SYN, the half
that began first; a service port on one side only; an endpoint already known to serve; the half that began first
without a SYN; the lower port. The last two are guesses and are marked so.
"""

from typing import Any, Final

import numba
import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets.services import RESERVED_PORTS, SERVICE_PORTS
from detector.normalize.pairing import endpoint_keys
from detector.state.counts import Counts, find

SYN, RST, ACK = 0x02, 0x04, 0x10  # RFC 9293 3.1
CLOCK_GRAIN_US: Final = 1000  # exporters keep flow times in milliseconds
MAX_ENDPOINTS: Final = 1 << 20  # 32 bytes each; when full it keeps what it knows and learns no more
_KEEP, _SWAP, _OPEN = 0, 1, 2

_SWAPPED: Final = [
    ("orig_h", "resp_h"), ("orig_p", "resp_p"), ("orig_bytes", "resp_bytes"), ("orig_pkts", "resp_pkts"),
    ("orig_flags", "resp_flags"), ("orig_ts", "resp_ts"),
]  # fmt: skip


@numba.njit(cache=True)
def _settle(verdict: Any, fallback: Any, first: Any, second: Any, keys: Any, used: Any, limit: Any) -> None:
    """Close open verdicts by known endpoints, else by the fallback; learn responders of the sure ones, row by row."""
    for row in range(verdict.size):
        sure = verdict[row] != _OPEN
        if not sure:
            first_serves = keys[find(keys, first[row])] == first[row]
            second_serves = keys[find(keys, second[row])] == second[row]
            if first_serves != second_serves:
                verdict[row] = _SWAP if first_serves else _KEEP
            else:
                verdict[row] = fallback[row]
        if sure and used[0] < limit:
            responder = first[row] if verdict[row] == _SWAP else second[row]
            slot = find(keys, responder)
            if keys[slot] == np.uint64(0):
                keys[slot] = responder
                used[0] += 1


class Direction:
    """Orients flows; remembers which endpoints serve."""

    def __init__(self) -> None:
        self.endpoints = Counts(MAX_ENDPOINTS)

    def orient(self, flows: pl.DataFrame) -> pl.DataFrame:
        """Flows with originator first and ``guessed`` set; rows in time order.

        Needs the columns of `records.FLOW` plus ``orig_ts``, ``resp_ts`` (start of each half, µs) and ``paired``.
        """
        if flows.is_empty():
            return flows.with_columns(guessed=pl.lit(False))
        flows = flows.with_columns(_verdict=_evidence(), _fallback=_fallback())
        verdict: NDArray[np.int8] = flows["_verdict"].to_numpy().astype(np.int8)
        sure = verdict != _OPEN
        first, second = endpoint_keys(flows)
        self.endpoints.reserve(flows.height)
        _settle(
            verdict, flows["_fallback"].to_numpy().astype(np.int8), first, second, self.endpoints.keys,
            self.endpoints.used, MAX_ENDPOINTS,
        )  # fmt: skip
        swap = pl.Series(verdict == _SWAP)
        exchanged = [pl.when(swap).then(b).otherwise(a).alias(a) for a, b in _SWAPPED]
        exchanged += [pl.when(swap).then(a).otherwise(b).alias(b) for a, b in _SWAPPED]
        return (
            flows.with_columns(exchanged).with_columns(guessed=~pl.Series(sure)).drop("_verdict", "_fallback")
        )


def _serves(side: str) -> pl.Expr:
    port = pl.col(f"{side}_p")
    named = pl.lit(False)
    for proto, ports in SERVICE_PORTS.items():
        named = named | ((pl.col("proto") == proto) & port.is_in(sorted(ports)))
    return (port.is_between(1, RESERVED_PORTS - 1) | named).fill_null(False)


def _only_syn(flags: pl.Expr) -> pl.Expr:
    return ((flags & SYN) != 0) & ((flags & ACK) == 0)


def _only_rst(flags: pl.Expr) -> pl.Expr:
    return ((flags & RST) != 0) & ((flags & SYN) == 0)


def _evidence() -> pl.Expr:
    orig, resp = pl.col("orig_flags").fill_null(0), pl.col("resp_flags").fill_null(0)
    whole = ((orig & SYN) != 0) & ((resp & SYN) != 0)
    lead = pl.col("resp_ts") - pl.col("orig_ts")
    return (
        pl.when(pl.col("oriented") | _only_syn(orig))
        .then(_KEEP)
        .when(_only_syn(resp) | (_only_rst(orig) & ~pl.col("paired") & ((orig & ACK) != 0) & _serves("orig")))
        .then(_SWAP)
        .when(whole & (lead >= CLOCK_GRAIN_US))
        .then(_KEEP)
        .when(whole & (lead <= -CLOCK_GRAIN_US))
        .then(_SWAP)
        .when(_serves("resp") & ~_serves("orig"))
        .then(_KEEP)
        .when(_serves("orig") & ~_serves("resp"))
        .then(_SWAP)
        .otherwise(_OPEN)
    )


def _fallback() -> pl.Expr:
    lead = pl.col("resp_ts") - pl.col("orig_ts")
    return (
        pl.when(lead.abs() >= CLOCK_GRAIN_US)
        .then(pl.when(lead > 0).then(_KEEP).otherwise(_SWAP))
        .when(pl.col("orig_p") < pl.col("resp_p"))
        .then(_SWAP)
        .otherwise(_KEEP)
    )

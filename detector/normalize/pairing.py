"""The two halves of a conversation that an exporter reports apart, put together.

NetFlow v5, v9 and most IPFIX export one record a direction. Both halves end together (FIN, or the same idle timeout),
so a half's partner is the record of the reversed 5-tuple whose end lies within the window.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.rows import Rows
from detector.state.compiled import kernel
from detector.state.keys import Keys, integer_key, mix, mix_all


@kernel
def _endpoints(hosts: Any, ports: Any, protos: Any, out: Any) -> None:
    for row in range(out.size):
        out[row] = mix(mix(hosts[row], integer_key(ports[row])), protos[row])


def endpoint_keys(flows: Rows) -> tuple[Keys, Keys]:
    """Keys of (originator, port, protocol) and (responder, port, protocol)."""
    first, second = np.empty((2, flows.height), dtype=np.uint64)
    for side, out in (("orig", first), ("resp", second)):
        _endpoints(flows.keys(f"{side}_h"), flows.array(f"{side}_p"), flows.keys("proto"), out)
    return first, second


@kernel
def _match(
    order: Any, keys: Any, forward: Any, start: Any, end: Any, window: Any, partner: Any, original: Any, waiting: Any
) -> Any:
    """Fill ``partner`` and ``original``; rows are walked in time order within each key. Returns the steps it took.

    A half takes the latest opposite half that still waits. So all that wait within the window point one way,
    and a stack
    (``waiting``: the half below) holds them: a flood on one 5-tuple costs one step a row.
    """
    top, before, steps = -1, -1, 0
    for row in order:
        steps += 1
        if before < 0 or keys[before] != keys[row]:
            top = -1
        elif forward[before] == forward[row] and start[before] == start[row] and end[before] == end[row]:
            original[row] = original[before] if original[before] >= 0 else before
            before = row
            continue
        if top >= 0 and end[row] - end[top] > window:
            top = -1  # what waits below waits longer still
        if top >= 0 and forward[top] != forward[row]:
            partner[top], partner[row] = row, top
            top = waiting[top]
        else:
            waiting[row] = top
            top = row
        before = row


def partners(flows: pl.DataFrame, window_us: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each row of ``flows`` (in time order of ``obs_ts``) the row of its other half, and the row it repeats, or -1.

    Only rows with ``oriented`` False take part, and cost anything. A row repeats another when it is the same half with
    the same times: one exporter on two interfaces; it is no half of its own. Whether two rows match depends on earlier
    rows alone, so cutting the stream elsewhere changes nothing as long as both halves are in the frame.
    """
    found = np.full((2, flows.height), -1, dtype=np.int64)
    single = np.flatnonzero(~flows["oriented"].to_numpy())
    if single.size:
        matched = _matched(
            flows.select("proto", "orig_h", "orig_p", "resp_h", "resp_p", "ts", "obs_ts")[single], window_us
        )
        found[:, single] = np.where(matched >= 0, single[matched], -1)
    return found[0], found[1]


def _matched(halves: pl.DataFrame, window_us: int) -> NDArray[np.int64]:
    """`partners` where all rows take part, shape (2, rows)."""
    first, second = endpoint_keys(Rows.of(halves))
    keys = mix_all(np.minimum(first, second), np.maximum(first, second))
    partner, original, waiting = np.full((3, halves.height), -1, dtype=np.int64)
    # Without ports two equal records may be two conversations.
    start = np.where(halves["orig_p"].is_not_null(), halves["ts"].to_numpy(), -1 - np.arange(halves.height))
    end = halves["obs_ts"].to_numpy()
    order = np.argsort(keys, kind="stable")
    _match(order, keys, first <= second, start, end, window_us, partner, original, waiting)
    return np.stack([partner, original])


def join_halves(
    flows: pl.DataFrame, first: NDArray[np.int64], second: NDArray[np.int64], record: NDArray[np.int64]
) -> pl.DataFrame:
    """Rows ``first`` with what their other halves ``second`` saw of the responder; ``resp_ts`` is its start.

    ``record`` is the row each stands for: ``first``, or a row that repeats one of the halves. It gets the whole
    conversation too, so that it is a twin of the pair, and is not ``paired``: it is one row of the input, not two.
    """
    mine, other, own = flows[first], flows[second], flows[record]
    return mine.with_columns(
        ts=pl.min_horizontal(mine["ts"], other["ts"]),
        obs_ts=pl.max_horizontal(mine["obs_ts"], other["obs_ts"]),
        duration=pl.max_horizontal(mine["duration"], other["duration"]),
        resp_bytes=other["orig_bytes"],
        resp_pkts=other["orig_pkts"],
        resp_flags=other["orig_flags"],
        orig_ts=mine["ts"],
        resp_ts=other["ts"],
        source=own["source"],
        position=own["position"],
        late=own["late"],
        paired=pl.Series(record == first, dtype=pl.Boolean),
    )

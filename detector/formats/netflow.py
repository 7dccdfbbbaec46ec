"""What all flow records share: one layout of names per format, one time policy, one orientation rule."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from detector.formats.address import canonical
from detector.formats.batch import Batch, Context, Row
from detector.formats.fields import BadValue, Fields, shown
from detector.formats.flow_times import clock, seconds_of, settled
from detector.formats.flow_values import Column, Names, column, counts, remembered, whole
from detector.formats.protocols import WITH_PORTS, protocol, tcp_flags
from detector.records import FLOW, Decoded

UNSPECIFIED: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_EXPORTER_MAX: Final = 64  # characters
PORT_MAX: Final = 65_535
_INT64_MAX: Final = 2**63 - 1
_REVERSE_INITIATOR: Final = 2
_SIDES: Final = (
    ("orig_h", "resp_h"),
    ("orig_p", "resp_p"),
    ("orig_flags", "resp_flags"),
)
_COUNTERS: Final = (("orig_bytes", "resp_bytes"), ("orig_pkts", "resp_pkts"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where one kind of flow record keeps its fields: names in order of preference, maybe none.

    Args:
        received: when the record was exported or received; judges ``end`` and replaces it.
        sampling: 1 of N packets; counters are multiplied by it.
        oriented: whether the source side is the originator; without it, reply counters tell.
        reversed: RFC 5103 biflowDirection; 2 (reverseInitiator) means that the source side answered.
        initiator: counters named by role, not by direction; they stay in place when a record is reversed.
        implied_end: the format may have no end time: end is start plus duration, and nothing is mended.
        scaled: the counters already stand for all packets, whatever ``sampling`` says.
        zero_is_no_reply: a zero in the reply counters means that the format always prints them, not a biflow.
        missing_port: value of a port that is absent; proto3 leaves zeros out.
        relative_times: times near the epoch are times of a replayed capture, not "unset".
    """

    orig_h: Names
    resp_h: Names
    orig_p: Names
    resp_p: Names
    proto: Names
    orig_bytes: Names
    orig_pkts: Names
    start: Names
    end: Names
    received: Names = ()
    resp_bytes: Names = ()
    resp_pkts: Names = ()
    orig_flags: Names = ()
    resp_flags: Names = ()
    duration: Names = ()
    exporter: Names = ()
    sampling: Names = ()
    uid: Names = ()
    service: Names = ()
    conn_state: Names = ()
    oriented: Names = ()
    reversed: Names = ()
    initiator: Names = ()
    implied_end: bool = False
    scaled: bool = False
    zero_is_no_reply: bool = False
    missing_port: int | None = None
    relative_times: bool = False


NotTraffic = Callable[[Row], str | None]
"""Why a record is not traffic, or None."""


def flows(batch: Batch, context: Context, layout: Layout, not_traffic: NotTraffic | None = None) -> Decoded:
    """The batch as FLOW rows; records that are no traffic are counted in ``filtered``."""
    kept, filtered = split(batch, layout, not_traffic)
    decoded = _flows(Fields(kept), context, layout) if kept.rows else Decoded()
    decoded.filtered += filtered
    return decoded


def split(batch: Batch, layout: Layout, not_traffic: NotTraffic | None) -> tuple[Batch, Counter[tuple[str, str]]]:
    """The records that describe traffic between two addresses, and the others counted by reason."""
    filtered: Counter[tuple[str, str]] = Counter()
    if not_traffic is None and _all_paired(batch.rows, layout):
        return batch, filtered
    verdicts = [_reason(row, layout, not_traffic) for row in batch.rows]
    if not any(verdicts):
        return batch, filtered
    filtered.update((batch.log, reason) for reason in verdicts if reason)
    kept = [index for index, reason in enumerate(verdicts) if not reason]
    return (
        Batch(
            batch.log,
            batch.source,
            [batch.positions[index] for index in kept],
            [batch.rows[index] for index in kept],
        ),
        filtered,
    )


def _all_paired(rows: list[Row], layout: Layout) -> bool:
    """The usual batch, looked at as two columns: every row has both addresses and they are set."""
    originators = [row.get(layout.orig_h[0]) for row in rows]
    responders = [row.get(layout.resp_h[0]) for row in rows]
    return all(originators) and all(responders) and not any(zero in originators for zero in UNSPECIFIED)


def _reason(row: Row, layout: Layout, not_traffic: NotTraffic | None) -> str | None:
    if not_traffic is not None and (reason := not_traffic(row)):
        return reason
    orig = _first(row, layout.orig_h)
    resp = _first(row, layout.resp_h)
    if not orig or not resp or (orig == resp and orig in UNSPECIFIED):
        return "no address pair"
    return None


def _first(row: Row, names: Names) -> Any:
    for name in names:
        if (value := row.get(name)) is not None:
            return value
    return None


def _flows(fields: Fields, context: Context, layout: Layout) -> Decoded:
    columns: dict[str, Any] = {
        "orig_h": fields.address(*layout.orig_h),
        "resp_h": fields.address(*layout.resp_h),
        "proto": remembered(fields, layout.proto, protocol),
    }
    columns |= _ports(fields, layout, columns["proto"])
    columns |= _flags(fields, layout, columns["proto"])
    columns |= counters(fields, layout)
    columns["oriented"] = _oriented(fields, layout, columns)
    columns["exporter"] = remembered(fields, layout.exporter, exporter)
    for name in ("uid", "service", "conn_state"):
        if names := getattr(layout, name):
            columns[name] = fields.text(*names)
    _turn(fields, layout, columns)
    times, notes = _times(fields, context, layout)  # last: a rejected row's times are not worth a note
    columns |= times
    decoded = fields.decoded(FLOW, columns)
    decoded.notes = notes
    return decoded


def _oriented(fields: Fields, layout: Layout, columns: dict[str, Any]) -> Column:
    """True where the sensor matched both directions; reply counters exist only then."""
    both = [
        octets is not None or packets is not None
        for octets, packets in zip(columns["resp_bytes"], columns["resp_pkts"], strict=True)
    ]
    if not layout.oriented:
        return both
    told = column(fields, layout.oriented, _truth)
    return [own if said is None else said for own, said in zip(both, told, strict=True)]


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in ("true", "t", "1"):
        return True
    if text in ("false", "f", "0"):
        return False
    raise BadValue("neither true nor false", shown(text))


def _turn(fields: Fields, layout: Layout, columns: dict[str, Any]) -> None:
    """Put the initiator first where a record says that its source side answered."""
    if not layout.reversed:
        return
    rows = fields.batch.rows
    for index, direction in enumerate(fields.raw(*layout.reversed)):
        if direction not in (_REVERSE_INITIATOR, str(_REVERSE_INITIATOR)):
            continue
        by_role = _first(rows[index], layout.initiator) is not None
        for left, right in _SIDES + (() if by_role else _COUNTERS):
            columns[left][index], columns[right][index] = columns[right][index], columns[left][index]


def exporter(value: Any) -> str | None:
    """An exporter's address; collectors print ``ip``, ``ip:port`` and ``[ip]:port``."""
    text = str(value)[:_EXPORTER_MAX].strip()
    address = canonical(text) or canonical(text.rpartition(":")[0].strip("[]")) or text
    return address if address and address not in UNSPECIFIED else None


def _ports(fields: Fields, layout: Layout, protos: Column) -> dict[str, Column]:
    """Ports; 0 where the protocol has none, whatever the exporter printed there."""
    portless = [index for index, proto in enumerate(protos) if proto is not None and proto not in WITH_PORTS]
    no_ports = frozenset(portless)
    missing = layout.missing_port
    out: dict[str, Column] = {}
    for name, names in (("orig_p", layout.orig_p), ("resp_p", layout.resp_p)):
        values = fields.raw(*names) if names else [None] * len(fields)
        ports: Column = []
        for index, value in enumerate(values):
            if type(value) is int and 0 <= value <= PORT_MAX:
                ports.append(value)
            elif index in no_ports:
                ports.append(0)
            else:
                ports.append(_port(fields, index, names, value, missing))
        for index in portless:
            ports[index] = 0
        out[name] = ports
    return out


def _port(fields: Fields, index: int, names: Names, value: Any, missing: int | None) -> int | None:
    if value is None or value == "":
        return missing
    try:
        port = whole(value)
        if port <= PORT_MAX:
            return port
        raise BadValue(f"outside 0..{PORT_MAX}", str(port))
    except BadValue as problem:
        fields.reject(index, problem.of(names[0]))
        return None


def _flags(fields: Fields, layout: Layout, protos: Column) -> dict[str, Column]:
    out: dict[str, Column] = {}
    for name, names in (("orig_flags", layout.orig_flags), ("resp_flags", layout.resp_flags)):
        # Exporters print a zero, or the last TCP flow's flags, for other protocols.
        flags = remembered(fields, names, tcp_flags)
        out[name] = [flag if proto == "tcp" else None for flag, proto in zip(flags, protos, strict=True)]
    return out


def counters(fields: Fields, layout: Layout) -> dict[str, Column]:
    """Bytes and packets of both sides, scaled up by the sampling rate, and the rate (None when not told)."""
    rates = [rate or None for rate in counts(fields, layout.sampling)]
    out: dict[str, Column] = {
        "orig_bytes": counts(fields, layout.orig_bytes),
        "orig_pkts": counts(fields, layout.orig_pkts),
        "resp_bytes": counts(fields, layout.resp_bytes),
        "resp_pkts": counts(fields, layout.resp_pkts),
    }
    if layout.zero_is_no_reply:
        pairs = list(zip(out["resp_bytes"], out["resp_pkts"], strict=True))
        out["resp_bytes"] = [octets if octets or packets else None for octets, packets in pairs]
        out["resp_pkts"] = [packets if octets or packets else None for octets, packets in pairs]
    for index, rate in enumerate(rates):
        if rate is not None and rate > 1 and not layout.scaled:
            _scale(fields, out, index, rate)
    return {**out, "sampling": rates}


def _scale(fields: Fields, columns: dict[str, Column], index: int, rate: int) -> None:
    for name, values in columns.items():
        if values[index] is not None:
            values[index] *= rate
            if values[index] > _INT64_MAX:
                problem = BadValue("outside 0..2**63-1 after scaling", f"{values[index]}, by {rate}")
                fields.reject(index, problem.of(name))
                values[index] = None


def _times(fields: Fields, context: Context, layout: Layout) -> tuple[dict[str, Column], Counter[tuple[str, str]]]:
    starts = clock(fields, layout.start, context.timezone, layout.relative_times)
    ends = clock(fields, layout.end, context.timezone, layout.relative_times)
    received = clock(fields, layout.received, context.timezone)
    told = column(fields, layout.duration, seconds_of)
    if not layout.implied_end:
        return settled(fields, starts, ends, received, told)
    instants = [
        index for index, times in enumerate(zip(ends, told, strict=True)) if times == (None, None)
    ]  # all that is known of them is one moment
    ends = [
        start + round((seconds or 0) * 1e6) if end is None and start is not None else end
        for start, end, seconds in zip(starts, ends, told, strict=True)
    ]
    times, notes = settled(fields, starts, ends, received, told)
    for index in instants:
        times["duration"][index] = None
    return times, notes

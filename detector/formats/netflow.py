"""What all flow records share: one layout of names per format, one time policy, one orientation rule."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from detector.formats.address import canonical
from detector.formats.batch import Batch, Context, Row
from detector.formats.fields import BadValue, Fields, micros
from detector.formats.protocols import WITH_PORTS, protocol, tcp_flags
from detector.records import FLOW, Decoded

LATE_LIMIT: Final = 86_400_000_000
"""µs a flow may have ended before it was received. Active timeouts are minutes, collectors buffer for minutes
to hours; more than a day is an exporter with a wrong clock (or a replayed capture), and would open windows
that closed long ago."""

CLOCK_SLACK: Final = 1_000_000
"""µs a flow may end after its receive time: v5 and v9 headers carry the export time in whole seconds."""

UNSET_BEFORE: Final = 2 * 86_400_000_000
"""µs since the epoch below which a time means "not set". A zero printed as local text
(``1970-01-01 01:00:00``) lies up to 14 h off the epoch; two days leave a margin, and no flow is that old."""

_UNSET_TEXT: Final = ("0000-", "1969-12-31", "1969/12/31", "1970-01-01", "1970/01/01")
_UNSPECIFIED: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to
_EXPORTER_MAX: Final = 64  # characters
_PORT_MAX: Final = 65_535
_INT64_MAX: Final = 2**63 - 1
_SPAN_MAX: Final = 1e9  # s; a longer duration is rubbish
_REVERSE_INITIATOR: Final = 2
_SIDES: Final = (
    ("orig_h", "resp_h"),
    ("orig_p", "resp_p"),
    ("orig_bytes", "resp_bytes"),
    ("orig_pkts", "resp_pkts"),
    ("orig_flags", "resp_flags"),
)
_DIGITS: Final = 20  # of a 64-bit number and its sign
_NS_FROM: Final = 10**17  # numbers from here on are nanoseconds, see `fields.micros`
_NS_TO: Final = 253_402_300_800 * 10**9  # year 10000
_CACHE_LIMIT: Final = 4096  # distinct spellings of protocols and flags that are remembered

Names = tuple[str, ...]
Column = list[Any]


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


def split(
    batch: Batch, layout: Layout, not_traffic: NotTraffic | None
) -> tuple[Batch, Counter[tuple[str, str]]]:
    """The records that describe traffic between two addresses, and the others counted by reason."""
    filtered: Counter[tuple[str, str]] = Counter()
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


def _reason(row: Row, layout: Layout, not_traffic: NotTraffic | None) -> str | None:
    if not_traffic is not None and (reason := not_traffic(row)):
        return reason
    orig = _first(row, layout.orig_h)
    resp = _first(row, layout.resp_h)
    if not orig or not resp or (orig == resp and orig in _UNSPECIFIED):
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
    columns["exporter"] = remembered(fields, layout.exporter, _exporter)
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
    raise BadValue(f"{text[:40]!r} is neither true nor false")


def _turn(fields: Fields, layout: Layout, columns: dict[str, Any]) -> None:
    """Put the initiator first where a record says that its source side answered."""
    if not layout.reversed:
        return
    rows = fields.batch.rows
    for index, direction in enumerate(fields.raw(*layout.reversed)):
        if direction not in (_REVERSE_INITIATOR, str(_REVERSE_INITIATOR)):
            continue
        by_role = _first(rows[index], layout.initiator) is not None
        for left, right in _SIDES[:2] if by_role else _SIDES:
            columns[left][index], columns[right][index] = columns[right][index], columns[left][index]


def column(fields: Fields, names: Names, convert: Callable[[Any], Any]) -> Column:
    """One converted column; a value ``convert`` refuses with `BadValue` marks its row, None stays None."""
    if not names:
        return [None] * len(fields)
    out: Column = []
    for index, value in enumerate(fields.raw(*names)):
        try:
            out.append(None if value is None else convert(value))
        except BadValue as problem:
            fields.reject(index, f"{names[0]}: {problem}")
            out.append(None)
    return out


def remembered(fields: Fields, names: Names, convert: Callable[[Any], Any]) -> Column:
    """`column` for fields with few distinct values: each spelling is converted once."""
    known: dict[Any, Any] = {}

    def recall(value: Any) -> Any:
        if isinstance(value, list | dict):
            return convert(value)
        try:
            return known[value]
        except KeyError:
            pass
        if len(known) >= _CACHE_LIMIT:
            known.clear()
        return known.setdefault(value, convert(value))

    return column(fields, names, recall)


def _exporter(value: Any) -> str | None:
    """An exporter's address; collectors print ``ip``, ``ip:port`` and ``[ip]:port``."""
    text = str(value)[:_EXPORTER_MAX].strip()
    address = canonical(text) or canonical(text.rpartition(":")[0].strip("[]")) or text
    return address if address and address not in _UNSPECIFIED else None


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
            if type(value) is int and 0 <= value <= _PORT_MAX:
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
        if port <= _PORT_MAX:
            return port
        raise BadValue(f"{port} is outside 0..{_PORT_MAX}")
    except BadValue as problem:
        fields.reject(index, f"{names[0]}: {problem}")
        return None


def _flags(fields: Fields, layout: Layout, protos: Column) -> dict[str, Column]:
    out: dict[str, Column] = {}
    for name, names in (("orig_flags", layout.orig_flags), ("resp_flags", layout.resp_flags)):
        # Exporters print a zero, or the last TCP flow's flags, for other protocols.
        flags = remembered(fields, names, tcp_flags)
        out[name] = [flag if proto == "tcp" else None for flag, proto in zip(flags, protos, strict=True)]
    return out


def whole(value: Any) -> int:
    """A count: an integer of at least 0, or its decimal text.

    Raises:
        BadValue: anything else; also above 2**63 - 1, which no frame can hold.
    """
    number: Any = value
    if isinstance(value, str) and len(value) <= _DIGITS:
        try:
            number = int(value)
        except ValueError:
            number = None
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= _INT64_MAX:
        return number
    raise BadValue(f"{str(value)[:40]!r} is not a count")


def counters(fields: Fields, layout: Layout) -> dict[str, Column]:
    """Bytes and packets of both sides, scaled up by the sampling rate, and the rate (None when not told)."""
    rates = [rate or None for rate in column(fields, layout.sampling, whole)]
    out: dict[str, Column] = {
        "orig_bytes": column(fields, layout.orig_bytes, whole),
        "orig_pkts": column(fields, layout.orig_pkts, whole),
        "resp_bytes": column(fields, layout.resp_bytes, whole),
        "resp_pkts": column(fields, layout.resp_pkts, whole),
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
                fields.reject(index, f"{name}: {values[index]} after scaling by {rate} is outside 0..2**63-1")
                values[index] = None


def clock(fields: Fields, names: Names, zone: str, relative: bool = False) -> Column:
    """Times in µs; None where a time is absent or an exporter's way to print "not set"."""
    here = ZoneInfo(zone)

    def convert(value: Any) -> int | None:
        if type(value) is int and _NS_FROM <= value < _NS_TO:
            return value // 1_000
        if isinstance(value, str):
            if not value or (not relative and value.startswith(_UNSET_TEXT)):
                return None
            value = value.partition("[")[0]  # RFC 9557 puts the zone's name in brackets after the offset
        time = micros(value, here)
        return time if relative or time >= UNSET_BEFORE else None

    return column(fields, names, convert)


def _times(
    fields: Fields, context: Context, layout: Layout
) -> tuple[dict[str, Column], Counter[tuple[str, str]]]:
    starts = clock(fields, layout.start, context.timezone, layout.relative_times)
    ends = clock(fields, layout.end, context.timezone, layout.relative_times)
    received = clock(fields, layout.received, context.timezone)
    told = column(fields, layout.duration, _seconds)
    if layout.implied_end:
        ends = [
            start + round((seconds or 0) * 1e6) if end is None and start is not None else end
            for start, end, seconds in zip(starts, ends, told, strict=True)
        ]
    return settled(fields, starts, ends, received, told)


def _seconds(value: Any) -> float | None:
    """A duration, or None when it cannot be one: nfdump prints 18446744073709540.000 for a reversed flow."""
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadValue(f"{str(value)[:40]!r} is not a duration") from None
    return seconds if 0 <= seconds <= _SPAN_MAX else None


def settled(
    fields: Fields,
    starts: Sequence[int | None],
    ends: Sequence[int | None],
    received: Sequence[int | None],
    told: Sequence[float | None],
) -> tuple[dict[str, Column], Counter[tuple[str, str]]]:
    """Start, end and duration that can be trusted, and how often something had to be mended.

    Args:
        fields: where rows without any usable time are rejected.
        starts: flow start, µs.
        ends: flow end, µs.
        received: receive or export time, µs.
        told: duration as the record tells it, s; 0 to `_SPAN_MAX`.
    """
    notes: Counter[tuple[str, str]] = Counter()
    columns: dict[str, Column] = {"ts": [], "obs_ts": [], "duration": []}
    add_start, add_end, add_duration = (values.append for values in columns.values())
    for index, (start, end, arrival, seconds) in enumerate(zip(starts, ends, received, told, strict=True)):
        if (
            start is not None
            and end is not None
            and start <= end
            and (arrival is None or -CLOCK_SLACK <= arrival - end <= LATE_LIMIT)
        ):
            add_start(start)
            add_end(end)
            add_duration((end - start) / 1e6 if seconds is None else seconds)
            continue
        *mended, note = _mended(start, end, arrival, seconds)
        for values, value in zip(columns.values(), mended, strict=True):
            values.append(value)
        if mended[0] is None:
            fields.reject(index, note)
        elif index not in fields.bad:
            notes[fields.batch.log, note] += 1
    return columns, notes


def _mended(
    start: int | None, end: int | None, arrival: int | None, seconds: float | None
) -> tuple[int | None, int | None, float | None, str]:
    """(start, end, duration, note) of a record whose times are incomplete or cannot be true."""
    span: int | None = None if seconds is None else round(seconds * 1e6)
    if span is None and start is not None and end is not None and end >= start:
        span = end - start
    if arrival is not None and end is not None and not -CLOCK_SLACK <= arrival - end <= LATE_LIMIT:
        note = "end after receipt: receive time used" if end > arrival else "end too old: receive time used"
        return arrival - (span or 0), arrival, None if span is None else span / 1e6, note
    if end is None and start is not None and span is not None and arrival is None:
        return start, start + span, seconds, "end missing: start and duration used"
    if end is None:
        return _without_end(start, arrival, seconds)
    if start is not None and start > end:
        return end, end, None, "start after end: start set to end"
    return end - (span or 0), end, seconds, "start missing: end used"


def _without_end(
    start: int | None, arrival: int | None, seconds: float | None
) -> tuple[int | None, int | None, float | None, str]:
    if arrival is None:
        return start, start, seconds, "no usable time" if start is None else "end missing: start used"
    if start is None or not 0 <= arrival - start <= LATE_LIMIT:
        return arrival, arrival, None, "end missing: receive time used"
    return start, arrival, None, "end missing: receive time used"

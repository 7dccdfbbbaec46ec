"""Metrics as tables for people."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from rich.table import Table
from rich.text import Text

from detector.metrics import OUTCOMES, Sample
from detector.service.logs import escaped

MOST_PARTITIONS: Final = 20
"""Rows of the table of partitions: those furthest behind."""
_MINUTE: Final = 60.0
_ALARMS: Final = {
    "gap_rows": "records were gone from the brokers before they were read",
    "stalls": "partitions stalled",
    "unreadable_batches": "record batches could not be read",
    "checkpoint_failures": "checkpoints could not be written",
    "checkpoint_corrupt": "checkpoints were damaged",
    "replay_mismatch": "records came out otherwise when made again",
}
_STATES: Final = {"paused": "reading pauses"}


class Numbers:
    """Samples by name, without ``eastwest_``."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._by_name: dict[str, list[Sample]] = {}
        for sample in samples:
            self._by_name.setdefault(sample.name.removeprefix("eastwest_"), []).append(sample)

    def one(self, name: str, **labels: str) -> float:
        """The number of that name and labels; 0 when it is not there."""
        return next((sample.value for sample in self._by_name.get(name, ()) if sample.labels == labels), 0.0)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """All numbers of that name, by the values of labels, as printable text."""
        return {
            tuple(escaped(sample.labels.get(label, "")) for label in labels): sample.value
            for sample in self._by_name.get(name, ())
        }


def tables(
    samples: Iterable[Sample], *, ready: bool, missing: Mapping[str, str], now: float | None = None
) -> Iterator[Table | Text]:
    """What to print, in order.

    Args:
        samples: of the exposition.
        ready: what `/readyz` says.
        missing: need -> why it is not met.
        now: seconds since the epoch; None = the clock's.
    """
    numbers, now = Numbers(samples), time.time() if now is None else now
    yield _headline(numbers, ready, missing)
    yield _rows(numbers)
    yield _partitions(numbers)
    yield _keeping(numbers, now)
    if sinks := numbers.by("sink_waiting", "sink"):
        yield _sinks(numbers, sorted(name for (name,) in sinks), now)
    yield _tables_of_state(numbers)
    if hits := numbers.by("decision_hits_total", "decision"):
        yield _decisions(hits)
    yield from _alarms(numbers)


def _headline(numbers: Numbers, ready: bool, missing: Mapping[str, str]) -> Text:
    ((version, config), _) = next(iter(numbers.by("build_info", "version", "config").items()), (("?", "?"), 0.0))
    said = "ready" if ready else "not ready: " + ", ".join(f"{need} ({why})" for need, why in missing.items())
    text = Text(f"eastwest {version}, settings {config}: ")
    return text.append(escaped(said), style="green" if ready else "yellow")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place == 0 else "right", overflow="fold")
    return table


def _add(table: Table, *cells: str) -> None:
    """A row of plain text: what looks like markup in a name is none."""
    table.add_row(*map(Text, cells))


def _rows(numbers: Numbers) -> Table:
    table = _table("Records", *OUTCOMES, "waiting")
    table.columns[0].justify = "right"
    counts = [numbers.one("rows_total", outcome=outcome) for outcome in OUTCOMES]
    _add(table, *(f"{count:,.0f}" for count in (*counts, numbers.one("rows_waiting"))))
    return table


def _partitions(numbers: Numbers) -> Table:
    lags = numbers.by("lag_rows", "topic", "partition")
    behind = numbers.by("behind_seconds", "topic", "partition")
    worst = sorted(lags, key=lambda place: (-behind.get(place, 0.0), -lags[place], place))
    table = _table("Partitions", "topic", "partition", "lag, records", "behind, s")
    for place in worst[:MOST_PARTITIONS]:
        _add(table, *place, f"{lags[place]:,.0f}", f"{behind.get(place, 0.0):,.1f}")
    if len(worst) > MOST_PARTITIONS:
        rest = worst[MOST_PARTITIONS:]
        most = max(behind.get(place, 0.0) for place in rest)
        _add(table, f"{len(rest)} more", "", f"{sum(lags[place] for place in rest):,.0f}", f"at most {most:,.1f}")
    return table


def _keeping(numbers: Numbers, now: float) -> Table:
    table = _table("Kept", "what", "when", "size", "took")
    _add(
        table,
        "checkpoint",
        _ago(numbers.one("checkpoint_timestamp_seconds"), now),
        _bytes(numbers.one("checkpoint_bytes")),
        f"{numbers.one('checkpoint_duration_seconds'):.1f} s",
    )
    fill = numbers.one("outbox_fill_ratio")
    _add(table, "outbox", "", f"{_bytes(numbers.one('outbox_bytes'))}, {fill:.0%} of its limit", "")
    _add(table, "memory", "", _bytes(numbers.one("process_resident_memory_bytes")), "")
    return table


def _sinks(numbers: Numbers, names: list[str], now: float) -> Table:
    table = _table("Sinks", "sink", "delivered", "waiting", "failed tries", "last success", "state")
    for name in names:
        _add(
            table,
            name,
            f"{numbers.one('sink_delivered_total', sink=name):,.0f}",
            f"{numbers.one('sink_waiting', sink=name):,.0f}",
            f"{numbers.one('sink_retries_total', sink=name):,.0f}",
            _ago(numbers.one("sink_success_timestamp_seconds", sink=name), now),
            "blocked" if numbers.one("sink_blocked", sink=name) else "ok",
        )
    return table


def _tables_of_state(numbers: Numbers) -> Table:
    entries, evicted = numbers.by("state_entries", "table"), numbers.by("state_evicted_total", "table")
    table = _table("State", "table", "entries", "evicted")
    for place in sorted({**entries, **evicted}):
        _add(table, *place, f"{entries.get(place, 0.0):,.0f}", f"{evicted.get(place, 0.0):,.0f}")
    return table


def _decisions(hits: Mapping[tuple[str, ...], float]) -> Table:
    table = _table("Decisions", "decision", "findings relabelled")
    for name in sorted(hits):
        _add(table, *name, f"{hits[name]:,.0f}")
    return table


def _alarms(numbers: Numbers) -> Iterator[Text]:
    """What should not be, one line each."""
    for name, text in _ALARMS.items():
        if count := numbers.one(f"{name}_total"):
            yield Text(f"{count:,.0f} {text}", style="red")
    for name, text in _STATES.items():
        if numbers.one(name):
            yield Text(text, style="yellow")


def _ago(then: float, now: float) -> str:
    if not then:
        return "never"
    seconds = max(now - then, 0.0)
    return f"{seconds:.0f} s ago" if seconds < 2 * _MINUTE else f"{seconds / _MINUTE:,.0f} min ago"


def _bytes(size: float) -> str:
    return f"{size / 2**20:,.1f} MiB"

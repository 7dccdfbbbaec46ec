"""What people read: who is how fast, where the time goes, what is held, which targets are met."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from rich.table import Table

from . import batches, eastwest, pair, parsers, rivals

if TYPE_CHECKING:
    from .laps import Laps
    from .programme import Report

_MARKS: Final = {True: "met", False: "NOT MET", None: "not measured"}


def tables(report: "Report") -> Iterable[Table]:
    """All of them, in the order they are explained in ``docs/performance.md``."""
    makers: tuple[Callable[[Report], Table], ...] = (
        parser_table, batch_table, race_table, life_table, latency_table, state_table, growth_table, forest_table,
        gate_table, target_table,
    )  # fmt: skip
    for make in makers:
        yield make(report)


def parser_table(report: "Report") -> Table:
    """Parsers alone: rows a second, and against the newline count and Polars of the same lines."""
    table = _table("Parsers alone, same lines, one core", "lines", "parser")
    for column in ("rows", "bytes/row", "rows/s", "ns/row", "x newline count's time", "x Polars' rate"):
        table.add_column(column, justify="right")
    for name, bytes_a_row in report.bytes_a_row.items():
        mine = {key.partition(": ")[2]: laps for key, laps in report.laps.items() if key.startswith(f"{name}: ")}
        polars = next((laps for key, laps in mine.items() if key.startswith("Polars")), None)
        for who, laps in mine.items():
            table.add_row(
                name, who, f"{laps.rows:,}", str(bytes_a_row), _rate(laps), _ns(laps),
                _number(mine[parsers.COUNT].against(laps)), _number(laps.against(polars) if polars else None),
            )  # fmt: skip
    return table


def batch_table(report: "Report") -> Table:
    """Kafka record batches alone."""
    table = _table(f"Record batches of {batches.RECORDS} Zeek JSON lines, one a record, one core", "compression", "who")
    for column in ("rows", "rows/s", "ns/row", "x kafka-python"):
        table.add_column(column, justify="right")
    for codec in batches.CODECS:
        for who in (batches.KAFKA_PYTHON, batches.OURS):
            laps = report.laps.get(batches.name(codec, who))
            if laps is not None:
                ratio = laps.against(report.laps[batches.name(codec, batches.KAFKA_PYTHON)])
                table.add_row(codec, who, f"{laps.rows:,}", _rate(laps), _ns(laps), _number(ratio))
    return table


def race_table(report: "Report") -> Table:
    """Everybody who scores or counts flows."""
    shape = report.shape
    title = f"{shape.hosts:,} hosts, {shape.edges:,} known edges, {shape.novel:.1%} of the rows a new pair, one core"
    table = _table(title, "who")
    for column in ("rows", "rows/s", "ns/row", "x DuckDB", "x MIDAS-R", "x River", "x read_ndjson"):
        table.add_column(column, justify="right")
    names = (rivals.POLARS, rivals.DUCKDB, rivals.MIDAS, rivals.RIVER, eastwest.JSON, eastwest.TSV, eastwest.GOFLOW2,
             eastwest.KAFKA, eastwest.PARQUET, eastwest.FRAMES, pair.ALONE, pair.TOGETHER, pair.THREADS)  # fmt: skip
    others = (rivals.DUCKDB, rivals.MIDAS, rivals.RIVER, f"zeek.json: {parsers.READ_NDJSON}")
    for name in names:
        laps = report.laps.get(name)
        if laps is None:
            continue
        apart = name in {pair.ALONE, pair.TOGETHER, pair.THREADS}  # timed in a race of their own
        ratios = [None if apart or other not in report.laps else laps.against(report.laps[other]) for other in others]
        table.add_row(name, f"{laps.rows:,}", _rate(laps), _ns(laps), *map(_number, ratios))
    return table


def life_table(report: "Report") -> Table:
    """Nanoseconds a row by stage."""
    table = _table("Life of a flow", "stage")
    for column in ("ns/row", "share"):
        table.add_column(column, justify="right")
    for life in report.life:
        table.title = f"Life of a flow: {life.source}, {life.rows:,} rows, one core"
        total = sum(life.ns.values())
        for stage, ns in life.ns.items():
            table.add_row(stage, f"{ns:,.0f}", f"{ns / total:.1%}")
        table.add_section()
        table.add_row("all", f"{total:,.0f}", "")
    return table


def latency_table(report: "Report") -> Table:
    """p50 and p99."""
    table = _table("A batch of Zeek JSON, lines to alerts, all cores", "rows")
    for column in ("batches", "p50 ms", "p99 ms", "p99/p50"):
        table.add_column(column, justify="right")
    for latency in report.latency:
        ratio = f"{latency.p99_ms / latency.p50_ms:.2f}"
        table.add_row(
            f"{latency.size:,}", str(latency.batches), f"{latency.p50_ms:.1f}", f"{latency.p99_ms:.1f}", ratio
        )
    return table


def state_table(report: "Report") -> Table:
    """Memory, snapshot, start."""
    table = _table("State", "what")
    table.add_column("value", justify="right")
    state = report.state
    if state is None:
        return table
    table.title = f"State at {state.edges:,} edges and {state.hosts:,} hosts"
    table.add_row("learned, MB", f"{state.learned / 1e6:,.1f}")
    table.add_row("learned by edge, bytes", f"{state.per_edge:,.0f}")
    table.add_row("learned by host, bytes", f"{state.per_host:,.0f}")
    for part, size in sorted(state.by_part.items(), key=lambda item: -item[1]):
        table.add_row(f"· {part} by edge, bytes", f"{size / state.edges:,.1f}")
    table.add_row("all arrays with free room, MB", f"{state.tables / 1e6:,.1f}")
    table.add_row("process before / at most, MiB", f"{state.start_mib:,.0f} / {state.peak_mib:,.0f}")
    table.add_row("capture (the path stops), s", f"{state.capture_s:.2f}")
    table.add_row("snapshot, s", f"{state.snapshot_s:.2f}")
    table.add_row("snapshot, MB", f"{state.snapshot_bytes / 1e6:,.1f}")
    table.add_row("restore, s", f"{state.restore_s:.2f}")
    table.add_row("start to ready, s", _number(report.ready_s))
    return table


def growth_table(report: "Report") -> Table:
    """Cost as edges grow."""
    table = _table("Growth, decoded frames, one core", "known edges")
    for column in ("entries", "tables at their bound", "MB", "rows", "ns/row", "x fewest", "capture s", "note"):
        table.add_column(column, justify="right")
    for growth in report.growth:
        if growth.ns is None:
            table.add_row(f"{growth.edges:,}", *[""] * 7, growth.note)
            continue
        table.add_row(
            f"{growth.edges:,}", f"{growth.entries:,}", str(growth.full), f"{growth.tables / 1e6:,.0f}",
            f"{growth.rows:,}", f"{growth.ns:,.0f}", _number(growth.times_small), _number(growth.capture_s),
            growth.note,
        )  # fmt: skip
    return table


def forest_table(report: "Report") -> Table:
    """Against scikit-learn."""
    table = _table("Isolation forest, score of rows, one core", "rows")
    for column in ("ours ms", "scikit-learn ms", "times as fast", "largest difference"):
        table.add_column(column, justify="right")
    for one in report.forest:
        times = f"{one.ours_ms:.3f}", f"{one.sklearn_ms:.3f}", f"{one.ratio:.2f}", f"{one.difference:.1e}"
        table.add_row(f"{one.rows:,}", *times)
    return table


def gate_table(report: "Report") -> Table:
    """What must hold."""
    table = _table(f"Gates (scores and alerts: {report.digest[:16]})", "what must hold", "holds")
    for name, held in report.gates.items():
        table.add_row(name, "yes" if held else "NO")
    return table


def target_table(report: "Report") -> Table:
    """Reached against wanted."""
    table = _table("Targets", "target")
    for column in ("reached", "wanted", "dream", ""):
        table.add_column(column, justify="right")
    for target in report.targets:
        reached = target.note if target.reached is None else f"{target.reached:.3g} {target.unit}"
        wanted = f"{target.sense} {target.bound:.3g} {target.unit}"
        table.add_row(target.name, reached, wanted, _number(target.dream), _MARKS[target.met])
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    return table


def _rate(laps: "Laps") -> str:
    return f"{laps.rate:,.0f}"


def _ns(laps: "Laps") -> str:
    return f"{laps.ns:,.0f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"

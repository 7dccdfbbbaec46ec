"""eastwest end to end with all its models: lines or frames in, scores, alerts and incidents out.

Every pass begins from the same snapshot: an engine that was taught every edge once in the week before and knows which
the stream has used lately. So a row is what most rows are, one more of an edge in use, and as many rows wait to be put
in order as always do. What is timed goes on from there; as many rows leave the engine as enter it.
"""

import hashlib
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

import polars as pl

from detector.alerts.model import to_json
from detector.config import Settings
from detector.engine import Engine
from detector.formats.batch import Context
from detector.formats.columns import read_parquet
from detector.records import Block, Decoded, merge
from detector.rows import Rows
from detector.sources.record_batches import read_records

from . import batches, parsers
from .batches import Response
from .folder import BATCH, Folder, Text
from .laps import Contestant, Pass, some
from .shape import START_US, Network

JSON: Final = "eastwest, Zeek JSON"
TSV: Final = "eastwest, Zeek TSV"
GOFLOW2: Final = "eastwest, goflow2 JSON"
KAFKA: Final = "eastwest, Kafka record batches"
PARQUET: Final = "eastwest, Parquet"
FRAMES: Final = "eastwest, decoded frames"
PASS_S: Final = 3.0
"""What a pass should take: its rows are chosen by a trial, in steps of 1, 2, 5."""
TRIAL_ROWS: Final = 20_000
_TEXTS: Final = {JSON: "zeek.json", TSV: "zeek.tsv", GOFLOW2: "goflow2.json", KAFKA: "zeek.json"}
_CODEC: Final = "lz4"
_SCORES: Final = ("obs_ts", "ts", "orig_h", "orig_p", "resp_h", "resp_p", "service", "p_value", "finding")


def new_engine() -> Engine:
    """What comes before the stream only teaches; in it all rows are judged."""
    return Engine(Settings(), None, START_US)


def teach(folder: Folder, network: Network) -> None:
    """Write the snapshot that every pass begins from."""
    engine = new_engine()
    for flows in (network.history(), network.lately()):
        for at in range(0, flows.height, BATCH):
            engine.push(Decoded(flows=flows[at : at + BATCH]))
    folder.snapshot.write_bytes(engine.snapshot())


def taught(folder: Folder) -> Engine:
    """An engine that goes on from the snapshot."""
    engine = new_engine()
    engine.restore(folder.snapshot.read_bytes())
    return engine


class Sources:
    """What eastwest reads, loaded once."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._texts: dict[str, Text] = {}
        self._frames: dict[tuple[int, int], list[Decoded]] = {}
        self._responses: dict[tuple[int, int], list[Response]] = {}

    def available(self, source: str) -> int:
        """Rows there are."""
        if source in _TEXTS:
            return len(self._text(source).rows)
        return self.folder.shape.rows if source == PARQUET else self.folder.shape.lines

    def read(self, source: str, rows: int, size: int = BATCH) -> Iterator[Decoded]:
        """The first rows, ``size`` at a time; decoded while it is iterated."""
        size = min(size, rows)
        if source == PARQUET:
            read = read_parquet(self.folder.parquet, Context(), size)
            return islice(read, -(-rows // size))
        if source == FRAMES:
            if (rows, size) not in self._frames:
                self._frames[rows, size] = self.folder.frames(rows, size)
            return iter(self._frames[rows, size])
        text = self._text(source)
        decoder = parsers.decoder(text)
        if source == KAFKA:
            if (rows, size) not in self._responses:
                self._responses[rows, size] = batches.responses(text.rows[:rows], _CODEC, size)
            return (merge(map(decoder.decode, _blocks(response))) for response in self._responses[rows, size])
        return map(decoder.decode, text.blocks(rows, size))

    def _text(self, source: str) -> Text:
        if source not in self._texts:
            self._texts[source] = self.folder.text(_TEXTS[source])
        return self._texts[source]

    def run(self, source: str, rows: int) -> Pass:
        """A pass over the first rows, ready to go."""
        engine, decoded = taught(self.folder), self.read(source, rows)
        return lambda: push(engine, decoded)


def _blocks(response: Response) -> Iterator[Block]:
    return read_records(response.batches, response.offset).blocks("flows:0")


def push(engine: Engine, pieces: Iterator[Decoded]) -> int:
    """Take everything; rows that are accounted for and not rejected."""
    account = engine.accounting
    before = account.rows - account.rejected.total()
    for piece in pieces:
        engine.push(piece)
    return account.rows - account.rejected.total() - before


def contestants(folder: Folder) -> list[Contestant]:
    """eastwest from every source there is, over as many rows as take about `PASS_S`."""
    sources = Sources(folder)
    return [_sized(source, sources) for source in (*_TEXTS, PARQUET, FRAMES)]


def _sized(source: str, sources: Sources) -> Contestant:
    rows = sized(source, sources)
    return Contestant(source, rows, lambda: sources.run(source, rows), once=True, warm=True)


def sized(source: str, sources: Sources, seconds: float = PASS_S) -> int:
    """Rows of a source that take about so long, by a trial of which the first half warms up."""
    most = sources.available(source)
    trial = min(most // 2, TRIAL_ROWS)
    engine, pieces = taught(sources.folder), sources.read(source, 2 * trial, min(trial, BATCH))
    push(engine, islice(pieces, -(-trial // BATCH)))
    began = time.perf_counter()
    rows = push(engine, pieces)
    return min(most, max(trial, some(rows / (time.perf_counter() - began) * seconds)))


def scored(sources: Sources, source: str, rows: int, size: int = BATCH) -> tuple[pl.DataFrame, bytes]:
    """What eastwest makes of the first rows: their scores, and the alerts of all it knows as JSON lines."""
    engine = taught(sources.folder)
    frames = [engine.push(piece) for piece in sources.read(source, rows, size)]
    units = Rows.concat([*frames, engine.finish()]).frame(_SCORES)
    return units, b"\n".join(to_json(alert) for alert in engine.judge.final_alerts())


def gates(folder: Folder) -> tuple[dict[str, bool], str]:
    """What must hold for the times to mean anything; and a SHA-256 over the scores and alerts of the first rows, the
    same as long as nobody changes what is detected."""
    sources = Sources(folder)
    rows = min(folder.shape.lines, TRIAL_ROWS)
    units, alerts = scored(sources, JSON, rows)
    found = {
        f"{source}: scored as from Zeek JSON": units.equals(scored(sources, source, rows)[0])
        for source in (TSV, KAFKA, PARQUET, FRAMES)
    }
    small = scored(sources, JSON, rows, BATCH // 10)
    found["batches of 1,000 rows: same scores, same alerts"] = small[0].equals(units) and small[1] == alerts
    return found, hashlib.sha256(units.write_csv().encode() + alerts).hexdigest()

"""The outbox as people look at it, while a service may be writing: read without its lock, never changed."""

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

import orjson

from detector.sinks.cursors import cursors
from detector.sinks.delivery import Delivery, Progress, Sink
from detector.sinks.messages import Render
from detector.sinks.outbox import Outbox
from detector.sinks.segments import HEADER, Record, records
from detector.state.stores import storage

_SEGMENT: Final = re.compile(r"\d{20}\.segment")


@dataclass(frozen=True, slots=True)
class Spool:
    """What an outbox holds."""

    first: int  # number of the oldest record
    end: int  # number behind the newest one
    size: int  # bytes on disk
    done: dict[str, int]  # by sink: records before this number it has, or refused
    refused: dict[str, int]  # by sink: records set aside, as far as they are kept


def look(folder: Path) -> Spool:
    """What the outbox of a folder holds.

    Raises:
        StorageFailed: it cannot be read.
    """
    paths = _segments(folder)
    first = int(paths[0].stem) if paths else 0
    end = first
    for record in stored(folder, int(paths[-1].stem) if paths else 0):
        end = record.sequence + 1
    done = cursors(folder)
    with storage(f"cannot read {folder}"):
        size = sum(path.stat().st_size for path in paths)
        set_aside = {path.name.partition(".")[0] for path in (folder / "refused").glob("*.ndjson*")}
    refused_by = {name: sum(1 for _ in refused(folder, name)) for name in sorted(set_aside | set(done))}
    return Spool(first, max(end, int(paths[-1].stem) if paths else 0), size, done, refused_by)


def stored(folder: Path, first: int = 0, last: int | None = None) -> Iterator[Record]:
    """The records of an outbox with these numbers, both included, as far as they are sound.

    Raises:
        StorageFailed: it cannot be read.
    """
    paths = _segments(folder)
    for path, following in zip_longest(paths, paths[1:]):
        if following is not None and int(following.stem) <= first:
            continue
        with storage(f"cannot read {path}"):
            content = path.read_bytes()
        for record, _ in records(content, len(HEADER), int(path.stem)):
            if last is not None and record.sequence > last:
                return
            if record.sequence >= first:
                yield record


def refused(folder: Path, name: str) -> Iterator[Record]:
    """What one sink refused, oldest first, as the outbox had it.

    Raises:
        StorageFailed: it cannot be read.
    """
    path = folder / "refused" / f"{name}.ndjson"
    for each in (path.with_name(path.name + ".1"), path):
        with storage(f"cannot read {each}"):
            lines = each.read_bytes().splitlines() if each.exists() else []
        for line in lines:
            try:
                plain = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue  # the service is writing it, or a crash cut it off
            yield Record(plain["sequence"], plain["kind"], plain["record"].encode())


def replay(
    records: Iterable[Record], sink: Sink, render: Render, seconds: float, on_problem: Callable[[str, str], None]
) -> Progress:
    """Send records to a sink once more, as a service would, from an outbox of their own; what became of them.

    Args:
        records: what to send.
        sink: where to; closed in the end.
        render: its format.
        seconds: the longest it may take.
        on_problem: see `Delivery`.
    """
    with tempfile.TemporaryDirectory() as folder, Outbox(Path(folder) / "outbox") as outbox:
        for record in records:
            outbox.append(record.kind, record.payload)
        outbox.sync()
        delivery = Delivery("replay", sink, outbox, on_problem, render=render)
        delivery.start()
        delivery.stop(seconds)
        return delivery.progress


def _segments(folder: Path) -> list[Path]:
    with storage(f"cannot list {folder}"):
        return sorted(path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name))

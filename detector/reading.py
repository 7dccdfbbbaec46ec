"""Files read and decoded: what every command over log files begins with. Each record is a row, a reject or a count."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import orjson

from detector.config import Settings
from detector.errors import UnreadableInput
from detector.formats.batch import Context
from detector.formats.columns import read_parquet
from detector.formats.decode import Decoder, Observer
from detector.records import Block, Decoded, Reject
from detector.sources import framing
from detector.sources.files import BLOCK_LINES, File, Files, SkippedFile, chunks
from detector.sources.objects import Span, fetch, footer

Progress = Callable[[str, int, int, int], None]
"""Called with stage (``read`` or ``score``), amount done, amount in all, rows so far."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some lines of a log.

    Args:
        begin: first byte.
        end: the one behind the last.
        line: number of the first line, from 1.
        header: lines of a table's header that hold for them and are not among them.
    """

    begin: int
    end: int
    line: int
    header: tuple[bytes, ...]


class Reader:
    """Decodes the logs under some paths, file by file.

    Args:
        settings: time zone, column map and records handled at once.
        log_format: a name of the format registry for all records, or ``auto``.
        dead_letters: gets a line for each record that could not be used.
        observer: sees the records of each log before they are decoded; see `formats.decode.Decoder`.
    """

    def __init__(
        self,
        settings: Settings,
        log_format: str,
        progress: Progress,
        dead_letters: BinaryIO,
        observer: Observer | None = None,
    ) -> None:
        self.context = Context(settings.timezone, settings.columns)
        self._batch_rows = min(settings.batch_rows, BLOCK_LINES)
        self._format = log_format
        self._progress = progress
        self._dead_letters = dead_letters
        self._observer = observer

    def read(self, files: Files) -> Iterator[Decoded]:
        """All records of the files; what is no log is then in ``files.skipped``.

        Raises:
            ConfigError: unknown format.
        """
        return self._noted(self._decoded(files))

    def _noted(self, records: Iterator[Decoded]) -> Iterator[Decoded]:
        for decoded in records:
            for reject in decoded.rejects:
                self._dead_letters.write(dead_letter(reject) + b"\n")
            yield decoded

    def table(self, file: File, rows: Span | None = None, place: Span | None = None) -> Iterator[Decoded]:
        """The flows of a Parquet file, or of some of its rows.

        Args:
            rows: the first one, and the one to stop before.
            place: where these rows are in the file; of an object, only that is fetched.

        Raises:
            UnreadableInput: no Parquet, no columns that are flows, or the store does not answer.
        """
        return self._noted(self._table(file, rows, place))

    def _table(self, file: File, rows: Span | None, place: Span | None) -> Iterator[Decoded]:
        if isinstance(file, Path):
            yield from read_parquet(file, self.context, self._batch_rows, rows)
            return
        with TemporaryDirectory(prefix="eastwest-") as folder:
            spans = [(0, file.size)] if place is None else [place, footer(file)]
            local = fetch(file, spans, Path(folder))
            yield from read_parquet(local, self.context, self._batch_rows, rows, str(file))

    def lines(self, file: Path, stretch: Stretch) -> Iterator[Decoded]:
        """The records of a stretch of a log.

        Raises:
            StorageFailed: it cannot be read any more.
        """
        return self._noted(self._lines(file, stretch))

    def _lines(self, file: Path, stretch: Stretch) -> Iterator[Decoded]:
        decoder = Decoder(str(file), self.context, format=self._format, observer=self._observer)
        if stretch.header:
            decoder.decode(Block(str(file), 1, list(stretch.header)))
        number, rows, done = stretch.line, 0, 0
        for lines in framing.lines(chunks(file, stretch.begin, stretch.end), self._batch_rows):
            decoded = decoder.decode(Block(str(file), number, lines))
            number += len(lines)
            rows += decoded.rows
            yield decoded
            done = min(done + sum(map(len, lines)) + len(lines), stretch.end - stretch.begin)
            self._progress("read", done, stretch.end - stretch.begin, rows)

    def files(self, paths: Sequence[str | File]) -> Files:
        """The files of the paths.

        Raises:
            UnreadableInput: a path is missing.
        """
        return Files(paths, self._batch_rows)

    def _decoded(self, files: Files) -> Iterator[Decoded]:
        decoder: Decoder | None = None
        rows = 0
        for block in files:
            if decoder is None or decoder.source != block.source:
                decoder = Decoder(block.source, self.context, format=self._format, observer=self._observer)
            decoded = decoder.decode(block)
            rows += decoded.rows
            yield decoded
            self._progress("read", files.bytes_read, files.bytes_total, rows)
        yield Decoded(rejects=files.problems)
        for file in files.parquet:
            files.skipped = [skipped for skipped in files.skipped if skipped.path != str(file)]
            try:
                yield from self._table(file, None, None)
            except UnreadableInput as problem:
                files.skipped.append(SkippedFile(str(file), str(problem).removeprefix(f"{file}: ")))


def dead_letter(reject: Reject) -> bytes:
    """A line of ``rejected.ndjson``; ``raw`` is Latin-1 text: every byte survives, whatever its encoding was."""
    return orjson.dumps(
        {
            "source": reject.source,
            "position": reject.position,
            "reason": reject.reason,
            "detail": reject.detail,
            "raw": reject.raw.decode("latin-1"),
        }
    )


def require_logs(files: int, skipped: Sequence[SkippedFile], option: str = "") -> None:
    """Some of the files were logs.

    Args:
        files: how many there are.
        skipped: those that are no logs.
        option: what named them, for the message.

    Raises:
        UnreadableInput: says what was found instead.
    """
    if not files:
        raise UnreadableInput(f"{option}no files found under the given paths")
    if len(skipped) == files:
        shown = "; ".join(f"{one.path}: {one.reason}" for one in skipped[:3])
        raise UnreadableInput(f"{option}none of {files} files is a Zeek or NetFlow log ({shown})")

"""Lines of files that may be packed."""

import gzip
from collections.abc import Iterator
from pathlib import Path


def lines_of(file: Path) -> Iterator[bytes]:
    """The lines of a gzip (by its name) or plain file, with their ends."""
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
        yield from opened

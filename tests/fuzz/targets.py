"""All fuzz targets: what each checks of an input, and what it begins with."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.fuzz import decoders, files

CORPUS = Path(__file__).parent / "corpus"


class Target(NamedTuple):
    """``check`` raises where an invariant does not hold."""

    name: str
    check: Callable[[bytes], None]
    made: Callable[[], list[bytes]]

    @property
    def folder(self) -> Path:
        """Of inputs that once were trouble."""
        return CORPUS / self.name.replace(" ", "-")

    def trouble(self) -> list[bytes]:
        """What is in the folder."""
        return [path.read_bytes() for path in sorted(self.folder.glob("*"))]

    def seeds(self) -> list[bytes]:
        """What others are made of."""
        return [*self.made(), *self.trouble()]


TARGETS = {name: Target(name, *both) for name, both in (decoders.TARGETS | files.TARGETS).items()}

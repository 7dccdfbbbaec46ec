"""Tables as CSV (RFC 4180): texts out of logs are somebody else's, and no formula."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from detector.renderings.strings import spreadsheet
from detector.renderings.tables import csv_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_BETWEEN: Final = "; "


def as_csv(kind: type["DataclassInstance"], rows: Sequence["DataclassInstance"]) -> str:
    """A table with a column for each field of ``kind``."""
    names = [field.name for field in fields(kind)]
    return csv_text(names, ([_cell(getattr(row, name)) for name in names] for row in rows))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return spreadsheet(_BETWEEN.join(map(str, value)))
    return "" if value is None else spreadsheet(str(value))

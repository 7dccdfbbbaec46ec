"""Tables as CSV (RFC 4180) in one text; what stands in cells is for the caller to make safe (`strings.spreadsheet`)."""

import csv
import io
from collections.abc import Iterable, Sequence


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    r"""The header and the rows, each ended by CR LF; None is an empty cell.

    >>> csv_text(["a", "b"], [[1, None], ["x,y", "z"]])
    'a,b\r\n1,\r\n"x,y",z\r\n'
    """
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(columns)
    table.writerows(rows)
    return text.getvalue()

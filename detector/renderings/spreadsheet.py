"""Text as a cell of CSV that a spreadsheet opens."""

from typing import Final

from detector.renderings.strings import visible

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula in a spreadsheet (OWASP, CSV injection); a quote in front makes it text."""


def as_text(text: str) -> str:
    """The text without controls, and so that no spreadsheet takes it for a formula.

    >>> as_text("=1+1"), as_text("a")
    ("'=1+1", 'a')
    """
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown

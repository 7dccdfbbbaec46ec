"""Strings of logs, made fit for a format. All of them may be an attacker's."""

from typing import Final

from detector.alerts.model import hostile

MARK: Final = "…"  # ends what was cut
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What begins a formula in a spreadsheet (OWASP, CSV injection); a quote in front makes it text."""
_MARK_BYTES: Final = len(MARK.encode())


def cut(text: str, limit: int) -> str:
    """The text in at most so many bytes of UTF-8, cut between two characters, with `MARK` at the end of what was cut.

    Args:
        text: without lone surrogates (`whole`).
        limit: bytes, no less than those of the mark.
    """
    if len(text) * 4 <= limit:
        return text
    content = text[: limit + 1].encode()  # a character has a byte at least
    if len(content) <= limit:
        return text
    return content[: limit - _MARK_BYTES].decode("utf-8", "ignore") + MARK


def whole(text: str) -> str:
    """The text as UTF-8 can say it: a lone surrogate becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def visible(text: str) -> str:
    r"""The text with what breaks lines, hides or turns text written out, as in ``\u202e``: for formats without an
    escape of their own."""
    return "".join(f"\\u{ord(char):04x}" if char < " " or hostile(char) else char for char in whole(text))


def spreadsheet(text: str) -> str:
    """The text as a cell of CSV: `visible`, and nothing that a spreadsheet would take for a formula.

    >>> spreadsheet("=1+1")
    "'=1+1"
    """
    text = visible(text)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text

"""Numbers, times and log strings as people read them, on a page and in a terminal.

Every string of a log is the attacker's: `visible` spells out what a browser or a terminal would obey instead of show.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from detector.assets.hosts import OUTSIDE

_WHOLE: Final = 1000  # from here on fractions say nothing
_HUGE: Final = 1e9  # from here on people count in powers of ten
_LEAST: Final = 1e-300  # a p-value below is an underflow
MINUTE_US: Final = 60_000_000
DAY_MINUTES: Final = 1440
_UNUSUAL: Final = re.compile(r"[^ -~]")  # a page of megabytes is nearly all printable ASCII


def visible(text: str, keep: str = "") -> str:
    """Text with its controls spelled out: terminal sequences, bidirectional overrides, invisible characters.

    >>> visible("a\x1b[31m")
    'a\\\\u001b[31m'
    """
    return _UNUSUAL.sub(
        lambda match: match[0] if match[0] in keep or not _obeyed(match[0]) else _spelled(match[0]), text
    )


def _spelled(char: str) -> str:
    return f"\\u{ord(char):04x}"


def _obeyed(char: str) -> bool:
    """Controls, format characters, surrogates, private use, unassigned, line and paragraph separators."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters; what is left out is in the middle, for addresses differ at their ends."""
    text = visible(text)
    if len(text) <= limit:
        return text
    tail = limit // 2
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def amount(value: float) -> str:
    """A count or a rate with thousands marked and no digits that say nothing."""
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= _WHOLE else f"{value:,.4g}"


def one_in(p: float) -> str:
    """How rare, for people: ``1 in 12,000``; powers of ten from a thousand million on.

    >>> one_in(8.3e-5)
    '1 in 12,000'
    """
    if not _LEAST < p < 1:
        return "1 in 1" if p >= 1 else "beyond measure"
    rarity = float(f"{1 / p:.2g}")
    if rarity < _HUGE:
        return f"1 in {rarity:,.0f}"
    mantissa, exponent = f"{rarity:.1e}".split("e")
    power = str(int(exponent)).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"1 in {mantissa} \u00d7 10{power}"


def stamp(text: str | None) -> str:
    """An ISO time to the second, as people read it; UTC goes without saying once it was said."""
    return text[:19].replace("T", " ") if text else "—"


def how_long(days: float) -> str:
    """``7 days``; less than one in hours and minutes."""
    return f"{amount(days)} days" if days > 1 else duration(round(days * DAY_MINUTES) * MINUTE_US)


def level_name(level: float | None) -> str:
    """``Level 3.5``, or that none was declared."""
    return "no level" if level is None else f"Level {level:g}"


def ordered_zones(names: Iterable[str], levels: dict[str, float | None]) -> list[tuple[str, float | None]]:
    """From the office down to the controllers; undeclared zones above. Without any levels: as they came."""
    zones = [(name, levels.get(name)) for name in dict.fromkeys(names)]
    if all(level is None for _, level in zones):
        return zones
    return sorted(zones, key=lambda zone: (zone[0] != OUTSIDE, zone[1] is not None, -(zone[1] or 0.0)))


def duration(micros: int) -> str:
    """A bin's length: ``10 min``, ``2 h 30 min``, ``1 d 4 h``."""
    minutes = max(micros // MINUTE_US, 1)
    parts = ((minutes // DAY_MINUTES, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "min"))
    return " ".join(f"{amount} {unit}" for amount, unit in parts if amount)

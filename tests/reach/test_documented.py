"""The page about reach says what the code does."""

from pathlib import Path

from detector.metrics import REACH
from detector.reach.model import CANDIDATES, KINDS
from detector.reach.written import BY_HOP, COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "reach.md").read_text(encoding="utf-8")


def test_columns_kinds_and_the_metric_are_documented():
    assert all(f"`{name}`" in PAGE for name in (*COLUMNS, *BY_HOP, *KINDS))
    assert f"| `{REACH.name}` |" in PAGE
    assert all(f"`{label}`" in PAGE for label in REACH.labels)
    assert REACH.help in PAGE
    assert f"The {CANDIDATES} hosts" in PAGE

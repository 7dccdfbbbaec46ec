"""What is found 64 bytes at a time is what one finds byte by byte."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.state.wide import find, places

FEED = ord("\n")


@given(st.text("a\n\0\xff", max_size=200), st.integers(0, 70))
def test_find(text: str, skipped: int) -> None:
    """Wherever the bytes begin, and whatever lies before them."""
    data = memoryview(text.encode("latin-1") + b"?")[skipped:]
    expected = np.flatnonzero(np.frombuffer(data, np.uint8) == FEED).tolist()
    found = np.full(len(data) + 1, -1)
    count = find(np.frombuffer(data, np.uint8), FEED, found)
    assert found[:count].tolist() == places(data, FEED).tolist() == expected
    assert (found[count:] == -1).all()

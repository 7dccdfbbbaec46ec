"""What is found 64 bytes at a time is what one finds byte by byte."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detector.state.wide import find

FEED = ord("\n")


@given(st.text("a\n\0\xff", max_size=200), st.integers(0, 70))
def test_find(text: str, skipped: int) -> None:
    """Wherever the bytes begin, and whatever lies before them."""
    data = np.frombuffer(text.encode("latin-1") + b"?", np.uint8)[skipped:]
    found = np.full(data.size + 1, -1)
    count = find(data, FEED, found)
    assert found[:count].tolist() == np.flatnonzero(data == FEED).tolist()
    assert (found[count:] == -1).all()

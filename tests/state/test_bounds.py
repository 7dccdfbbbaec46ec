"""Kernels can be compiled with checks of every index: ``NUMBA_BOUNDSCHECK=1 pytest tests/score ...``."""

import os
import subprocess
import sys

import pytest

from detector.state import compiled

BEYOND = """
import numpy as np
from detector.sources.record_batches import _walk
rows = np.empty((4, 1), np.int64)
_walk(np.full(4, 0x80, np.uint8), 0, 100, 1, (0, 0, 0), (0, 1), rows)  # ends behind the array
"""


@pytest.mark.slow
def test_an_index_beyond_an_array_is_found_out():
    checked = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run([sys.executable, "-c", BEYOND], env=checked, capture_output=True, text=True, check=False)
    assert "IndexError" in done.stderr


def test_kernels_with_checks_have_a_cache_of_their_own(monkeypatch):
    """Numba's cache does not tell them apart."""
    before = compiled.stamp()
    monkeypatch.setattr(compiled._settings, "BOUNDSCHECK", 0 if compiled._settings.BOUNDSCHECK else 1)
    assert compiled.stamp() != before

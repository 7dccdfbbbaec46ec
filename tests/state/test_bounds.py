"""Kernels can be compiled with checks of every index: ``NUMBA_BOUNDSCHECK=1 pytest tests/score ...``."""

import os
import subprocess
import sys

import pytest

from detector.state import compiled
from tests.scenarios.world import simulated

BEYOND = """
import numpy as np
from detector.sources.record_batches import _walk
rows = np.empty((4, 1), np.int64)
_walk(np.full(4, 0x80, np.uint8), 0, 100, 1, (0, 0, 0), (0, 1), rows)  # ends behind the array
"""


WHOLE = """
import sys
from pathlib import Path
from detector.assets.plant import load_plant
from detector.config import Settings
from detector.engine import Engine
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Decoded
from detector.sources.files import Files
folder = Path(sys.argv[1])
engine = Engine(Settings(max_entries=1000, max_seen=1000), load_plant(folder / "plant.yaml"))
decoders = {}
for block in Files([folder], 2000):
    decoder = decoders.setdefault(block.source, Decoder(block.source, Context("UTC", None)))
    engine.push(decoder.decode(block))  # file by file: most rows are late, and all tables overflow
engine.restore(engine.snapshot())
engine.finish()
assert engine.accounting.scored + engine.accounting.late > 10_000 and not engine.accounting.waiting
assert all(table.evicted for name, table in engine.scorer.tables().items() if name in ("structure", "volume"))
"""


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_whole_path_stays_within_its_arrays(tmp_path_factory):
    """Every kernel, with tables that are far too small, a snapshot between."""
    plant = simulated(tmp_path_factory, days=2, hosts=40, seed=3)
    checked = os.environ | {"NUMBA_BOUNDSCHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WHOLE, str(plant.plant.parent)], env=checked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


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

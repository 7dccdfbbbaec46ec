"""A start is quick: what only some runs need is not imported for all."""

import subprocess
import sys

LATER = ("sklearn", "scipy.stats", "river.datasets")
"""Together they took as long as all else that an engine imports."""


def test_an_engine_imports_no_more_than_it_needs():
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, detector.engine; print([n for n in {LATER} if n in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "[]"

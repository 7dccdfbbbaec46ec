"""Makes what ``benchmarks/detection.py`` is made of importable: it is no part of the package."""

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

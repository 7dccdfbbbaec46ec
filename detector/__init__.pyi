# What `__init__.py` offers when asked for it, for type checkers.
import polars as pl

from detector import plots as plots
from detector.api import Logs as Logs
from detector.api import Scores as Scores
from detector.api import load as load
from detector.api import scores as scores

__all__ = ["Logs", "Scores", "__version__", "load", "pl", "plots", "scores"]
__version__: str

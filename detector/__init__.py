"""eastwest: finds intruders moving sideways through IT and OT networks.

The path of one record, and where each step lives::

    sources/    lines in, with their position          -> sources.Block
    formats/    bytes to typed rows                    -> records.FLOW, records.OPERATION
    normalize/  time order, pairing, direction, twins  -> the same frames, in scoring order
    assets/     zones, Purdue levels, services         -> looked up, never fetched
    score/      surprisal, p-value, reasons            -> findings
    correlate/  findings to chains to incidents        -> alerts.Incident
    alerts/     what leaves, and how it explains itself

``engine.Engine`` is that path read top to bottom; ``cli`` is what people type; ``api`` is what notebooks call, and is
here under the names of `_OFFERED` (docs/python.md).
"""

import importlib
from typing import Any, Final

__version__ = "0.1.0"
_OFFERED: Final = {
    "load": "detector.api", "scores": "detector.api", "Logs": "detector.api", "Scores": "detector.api",
    "plots": "detector.plots", "pl": "polars",
}  # fmt: skip
_MODULES: Final = ("plots", "pl")


def __getattr__(name: str) -> Any:
    """What notebooks call is imported when they do: a command must not pay for it (PEP 562)."""
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_OFFERED[name])
    return module if name in _MODULES else getattr(module, name)

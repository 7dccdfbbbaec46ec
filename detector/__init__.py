"""eastwest: finds intruders moving sideways through IT and OT networks.

The path of one record, and where each step lives::

    sources/    lines in, with their position          -> sources.Block
    formats/    bytes to typed rows                    -> records.FLOW, records.OPERATION
    normalize/  time order, pairing, direction, twins  -> the same frames, in scoring order
    assets/     zones, Purdue levels, services         -> looked up, never fetched
    score/      surprisal, p-value, reasons            -> findings
    correlate/  findings to chains to incidents        -> alerts.Incident
    alerts/     what leaves, and how it explains itself

``engine.Engine`` is that path read top to bottom; ``cli`` is what people type.
"""

__version__ = "0.1.0"

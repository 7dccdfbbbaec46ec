"""A car plant that does not exist: its ordinary weeks, and intruders moving through them.

For the demo, the tests and drills. The same seed gives the same bytes on every machine::

    plant       who is there             -> Plant
    people      who is in today          -> Crew
    office, servers, administrators, automation, cells, suppliers,
    drift       what they mean to do     -> acts.ActTable
    density     what of it is seen, and
    bursts      whole
    campaigns   what an intruder does    -> more rows of the same table
    lookups     what that causes
    wire        how that looks           -> wire.Conns
    *_records   what Zeek reads in it
    *_writer    files

`simulation.simulate` is that path read top to bottom.
"""

from .simulation import SimulatedPlant, simulate

__all__ = ["SimulatedPlant", "simulate"]

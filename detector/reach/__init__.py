"""How far an intruder gets from each host: as the network is used, and as its conduits allow. `eastwest reach`."""

from typing import Final

HOPS: Final = 3
"""Enough from an office over a jump host to a controller; with more, most networks are one."""

"""How far an intruder gets from each host: as the network is used, and as its conduits allow. `eastwest reach`."""

"""Zones and conduits as code (IEC 62443-3-2): `eastwest zones` checks them against logs, proposes and compares them."""

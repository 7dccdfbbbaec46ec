"""State in flat arrays: keys, tables, snapshots."""

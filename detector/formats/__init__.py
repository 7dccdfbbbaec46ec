"""Bytes to typed rows: one file per format, one visible registry, detection per message."""

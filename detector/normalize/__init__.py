"""Decoded rows to conversations in scoring order: reorder, pair, orient, drop twins."""

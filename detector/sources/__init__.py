"""Where records come from: files, topics, memory. A source hands over raw lines with their position,
unparsed."""

from detector.records import Block

__all__ = ["Block"]

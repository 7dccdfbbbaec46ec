"""The errors eastwest raises on purpose.

::

    DetectorError
    ├── ConfigError      a setting, plant or labels file is wrong: names file and key (exit code 2)
    ├── UnreadableInput  nothing of the input could be read at all (exit code 3)
    └── StateMismatch    a snapshot is damaged or belongs to another configuration

A malformed *record* is not an exception: it is a `records.Reject`, counted and kept.
"""


class DetectorError(Exception):
    """Root of all errors a user can do something about; the message says what."""


class ConfigError(DetectorError):
    """A settings, plant or labels file is wrong.

    Args:
        file: the file as the user named it.
        key: dotted key, or line, within it; empty when the whole file is meant.
        problem: what is wrong and what to do next.
    """

    def __init__(self, file: str, key: str, problem: str) -> None:
        super().__init__(f"{file}: {key}: {problem}" if key else f"{file}: {problem}")
        self.file, self.key, self.problem = file, key, problem


class UnreadableInput(DetectorError):
    """No record of the input could be read."""


class StateMismatch(DetectorError):
    """A snapshot cannot be restored here: damaged, or written by another format or configuration."""

"""The errors eastwest raises on purpose.

::

    DetectorError
    ├── ConfigError      a setting, plant or labels file is wrong: names file and key (exit code 2)
    ├── UnreadableInput  nothing of the input could be read at all (exit code 3)
    ├── UnreadableBatch  a record batch of a topic is damaged or too large: names its offset
    ├── MissingLibrary   a library that is not always installed is needed: says which
    ├── StorageFailed    a folder or bucket could not be read or written: full, broken, away, not permitted
    ├── FolderInUse      another process writes in the folder
    ├── WorkerFailed     a process or machine that was to do a part of the work did not
    └── StateMismatch    a snapshot is damaged or belongs to another configuration
        ├── ForeignCheckpoint   checkpoints belong to another cluster, topic, configuration or version
        └── NoValidCheckpoint   there are checkpoints, and not one of them can be used

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


class UnreadableBatch(DetectorError):
    """A record batch of a topic cannot be read.

    Args:
        offset: of its first record, as its header says.
        problem: what is wrong with it.
        next_offset: where to go on when the batch is given up; None when its header cannot be believed, as it
            may have been damaged on its way and come whole when asked for again.
    """

    def __init__(self, offset: int, problem: str, next_offset: int | None = None) -> None:
        super().__init__(f"record batch at offset {offset}: {problem}")
        self.offset, self.problem, self.next_offset = offset, problem, next_offset


class MissingLibrary(DetectorError):
    """Something needs a library that is not installed; the message says how to install it."""


class StateMismatch(DetectorError):
    """A snapshot cannot be restored here: damaged, or written by another format or configuration."""


class ForeignCheckpoint(StateMismatch):
    """The newest checkpoint is whole and belongs to something else; the message says to what, and what to do."""


class NoValidCheckpoint(StateMismatch):
    """Checkpoints exist and all are damaged; the message says why, one by one."""


class StorageFailed(DetectorError):
    """A folder or bucket could not be read or written.

    What was there before is whole, and the same call may succeed later: when there is space, or the network is back.
    """


class WorkerFailed(DetectorError):
    """A process or machine that was to do a part of the work did not; the same command goes on where it was."""


class FolderInUse(DetectorError):
    """Another process holds the folder; two writers would spoil what is in it."""

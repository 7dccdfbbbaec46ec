"""Work in a process that is killed in the middle of it."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest.mock import patch


def die(*_args, **_named):
    """SIGKILL to this process: nothing is flushed, closed or told."""
    os.kill(os.getpid(), signal.SIGKILL)


def killed(work: Callable[[], object], *patches: AbstractContextManager[object]) -> bool:
    """Whether a child process with the patches was killed in the work; otherwise it must end it without an error."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for each in patches:
                each.__enter__()
            work()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0, "the child failed by itself"
    return os.WIFSIGNALED(status)


def dies_at(target: str, call: int = 1) -> AbstractContextManager[object]:
    """The function dies instead of doing its work, at its n-th call."""
    module, _, name = target.rpartition(".")
    owner = _resolved(module)
    real = getattr(owner, name)
    left = [call]

    def deadly(*args, **named):
        left[0] -= 1
        return die() if left[0] == 0 else real(*args, **named)

    return patch.object(owner, name, deadly)


def half_written() -> AbstractContextManager[object]:
    """A file is written by half, then the process dies."""
    from detector.state import stores

    def half(descriptor, content):
        os.write(descriptor, content[: len(content) // 2])
        die()

    return patch.object(stores, "write_all", half)


def _resolved(path: str) -> object:
    import importlib

    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise LookupError(path)

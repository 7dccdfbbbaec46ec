"""Places where a test may end the process: what must hold after a crash at any of them is tried, not believed."""

import os
import signal
from collections import Counter
from typing import Final

_VARIABLE: Final = "EASTWEST_CRASH"  # NAME or NAME:N, the Nth time it is passed
_passed: Counter[str] = Counter()


def point(name: str) -> None:
    """Pass a place; ends the process, unsaid and unclean, when the environment says so."""
    wish = os.environ.get(_VARIABLE)
    if wish is None:
        return
    place, _, number = wish.partition(":")
    if place == name:
        _passed[name] += 1
        if _passed[name] >= int(number or 1):
            os.kill(os.getpid(), signal.SIGKILL)

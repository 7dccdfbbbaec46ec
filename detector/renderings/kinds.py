"""The renderings, by the names that settings give them. A new one is a module and a line."""

from collections.abc import Callable
from typing import Final

from detector.alerts.model import Told
from detector.renderings import native

Rendering = Callable[[Told], bytes]

RENDERINGS: Final[dict[str, Rendering]] = {
    "native": native.render,
}

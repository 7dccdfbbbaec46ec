"""The renderings, by the names that settings give them. A new one is a module and a line."""

from collections.abc import Callable
from typing import Final

from detector.alerts.model import Told
from detector.renderings import cef, cim, ecs, leef, native, ocsf, udm

Rendering = Callable[[Told], bytes]

RENDERINGS: Final[dict[str, Rendering]] = {
    "native": native.render,
    "ecs": ecs.render,
    "ocsf": ocsf.render,
    "cef": cef.render,
    "leef": leef.render,
    "cim": cim.render,
    "udm": udm.render,
}

"""The renderings, by the names that settings give them. A new one is a module and a line."""

from collections.abc import Callable
from typing import Final, NamedTuple

import detector
from detector.alerts.model import Told
from detector.renderings import cef, cim, ecs, leef, native, ocsf, udm


class Content(NamedTuple):
    """What a reader of a rendering must know."""

    type: str  # media type (RFC 6838)
    schema: str  # name and version of what the fields follow


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

_JSON: Final = "application/json"
_TEXT: Final = "text/plain; charset=utf-8"

CONTENTS: Final[dict[str, Content]] = {
    "native": Content(_JSON, f"eastwest/{detector.__version__}"),
    "ecs": Content(_JSON, f"ecs/{ecs.ECS_VERSION}"),
    "ocsf": Content(_JSON, f"ocsf/{ocsf.OCSF_VERSION}"),
    "cef": Content(_TEXT, "cef/0"),
    "leef": Content(_TEXT, "leef/2.0"),
    "cim": Content(_JSON, "cim/6"),
    "udm": Content(_JSON, "udm"),
}

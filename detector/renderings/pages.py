"""Pages for people: every value is escaped, and a name that a template misspells is an error."""

from collections.abc import Callable
from typing import Any

import jinja2


def environment(
    package: str, *, lstrip_blocks: bool = True, finalize: Callable[[Any], Any] | None = None
) -> jinja2.Environment:
    """Of the templates beside a package's modules, and of `page.html.j2` here, which they extend.

    Args:
        package: such as ``detector.zones``.
        lstrip_blocks, finalize: see `jinja2.Environment`.
    """
    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, ".") for name in (package, __package__)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=lstrip_blocks,
        finalize=finalize,
    )

"""JSON renderings as bytes."""

from typing import Any, Final

import orjson

from detector.alerts.model import escaped
from detector.renderings.strings import cut, whole

TEXT_BYTES: Final = 2048  # of one string: a few sentences; Lucene takes no term beyond 32,766 bytes
LIST_LENGTH: Final = 50  # of one list; how many there were is told by its own field


def json_line(document: dict[str, Any]) -> bytes:
    """One object without a line feed. What is None or empty is left out; long strings are cut, long lists too."""
    return escaped(orjson.dumps(_fit(document)))


def _fit(value: Any) -> Any:
    if isinstance(value, dict):
        fitted = {key: _fit(inner) for key, inner in value.items()}
        return {key: inner for key, inner in fitted.items() if inner is not None and inner not in ("", [], {})}
    if isinstance(value, list | tuple):
        return [_fit(inner) for inner in value[:LIST_LENGTH]]
    return cut(whole(value), TEXT_BYTES) if isinstance(value, str) else value

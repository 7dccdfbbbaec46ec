"""Structured logs on standard error: one JSON object a line, or text for people.

Every text is somebody else's until proven otherwise: control characters, line ends and marks that turn the direction of
writing are escaped, long ones are cut. Fields whose name says that they are secret are never shown.
"""

import json
import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TextIO

_ROOT: Final = "eastwest"
MOST_CHARACTERS: Final = 1024
"""Of one text in a line; the rest is cut."""
QUIET_SECONDS: Final = 10.0
_MOST_KINDS: Final = 1000  # of messages that are remembered
MOST_TRACE: Final = 16_384  # characters of a traceback
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SECRET: Final = re.compile("passw|secret|token|credential|hmac|auth_bytes", re.IGNORECASE)
_PLAIN: Final = re.compile(r"[\w.:/@%+,\[\]-]+")
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Log(logging.LoggerAdapter[logging.Logger]):
    """``log.info("checkpoint written", seconds=0.3)``: an event in words that do not change, and fields."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Fields go where the formatters look for them."""
        known = {name: kwargs[name] for name in ("exc_info", "stack_info", "stacklevel") if name in kwargs}
        fields = {name: value for name, value in kwargs.items() if name not in known}
        return msg, {**known, "extra": {"fields": fields}}


def get(name: str) -> Log:
    """The log of a part of the program, such as ``loop``."""
    return Log(logging.getLogger(f"{_ROOT}.{name}"), {})


def configure(level: str, kind: Literal["json", "text"], stream: TextIO | None = None) -> None:
    """Send everything of ours, and warnings of libraries, to ``stream`` (standard error). Again: replaces it."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if kind == "json" else Text())
    handler.addFilter(Flood())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_ROOT).setLevel(_LEVELS[level])
    # Never below INFO: at DEBUG kafka-python writes whole requests, and with them passwords.
    logging.getLogger("kafka").setLevel(max(_LEVELS[level], logging.INFO) if level == "debug" else logging.WARNING)
    logging.captureWarnings(capture=True)


class Flood(logging.Filter):
    """Lets each kind of message of a library through once in `QUIET_SECONDS`; the next says how many were left out.

    kafka-python writes five lines for each try to reach a broker, many tries a second. Of ours nothing is left out.
    """

    def __init__(self) -> None:
        super().__init__()
        self._since: dict[tuple[str, str], tuple[float, int]] = {}  # when the last was told, how many since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is told; adds the field ``left_out``."""
        if record.name.partition(".")[0] == _ROOT:
            return True
        kind = record.name, str(record.msg)
        told, left_out = self._since.get(kind, (-QUIET_SECONDS, 0))
        if abs(record.created - told) < QUIET_SECONDS:  # a clock that was set back must not silence it
            self._since[kind] = told, left_out + 1
            return False
        if len(self._since) >= _MOST_KINDS:
            self._since.clear()
        self._since[kind] = record.created, 0
        if left_out:
            record.fields = {"left_out": left_out}
        return True


class JsonLines(logging.Formatter):
    """One object a line: ``time``, ``level``, ``logger``, ``event``, then the fields. Pure ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line = {
            "time": _time(record).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _cut(_event(record)),
        }
        fields = {name if name not in line else f"{name}_": value for name, value in _fields(record).items()}
        trace = {"trace": self.formatException(record.exc_info)[-MOST_TRACE:]} if record.exc_info else {}
        return json.dumps(line | fields | trace, ensure_ascii=True, allow_nan=False).replace("\x7f", "\\u007f")


class Text(logging.Formatter):
    """For terminals: ``07:00:00.123 INFO  loop: checkpoint written seconds=0.3``; a traceback below, indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = "".join(f" {escaped(name)}={_text(value)}" for name, value in _fields(record).items())
        time = _time(record).strftime("%H:%M:%S.%f")[:-3]
        name = record.name.removeprefix(f"{_ROOT}.")
        said = f"{time} {record.levelname:<7} {escaped(name)}: {escaped(_cut(_event(record)))}{fields}"
        trace = self.formatException(record.exc_info)[-MOST_TRACE:].splitlines() if record.exc_info else []
        return "\n  ".join([said, *map(escaped, trace)])


def escaped(text: str) -> str:
    r"""The text with what a terminal or a log reader would act upon as ``\x1b`` or ``\u202e``."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode(), text)


def _event(record: logging.LogRecord) -> str:
    """What is said; a library whose arguments do not fit must not end the program."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return str(record.msg)


def _time(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", {})
    return {name: "***" if _SECRET.search(name) else _plain(value) for name, value in fields.items()}


def _plain(value: Any) -> Any:
    """As JSON has it; NaN and what JSON does not know become text."""
    match value:
        case bool() | int() | None:
            return value
        case float():
            return value if value - value == 0 else str(value)
        case Mapping():
            return {str(name): "***" if _SECRET.search(str(name)) else _plain(inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [
                _plain(inner) for inner in (sorted(value, key=str) if isinstance(value, set | frozenset) else value)
            ]
        case _:
            return _cut(str(value))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}... ({len(text)} characters)"


def _text(value: Any) -> str:
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and not _PLAIN.fullmatch(said):
        said = json.dumps(said, ensure_ascii=False)
    return escaped(said)

"""How settings come about: defaults < one YAML file < environment. Errors name file and key, and say what is allowed.

A variable is named after its key: ``kafka.security.protocol`` is ``EASTWEST_KAFKA__SECURITY__PROTOCOL``. The engine's
are those of the backtest: ``EASTWEST_ALERTS_PER_DAY``. An empty variable is as if it were not set.
"""

import difflib
import json
import os
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from detector.config import ENVIRONMENT_PREFIX
from detector.errors import ConfigError
from detector.service.settings import ServiceSettings

_UNNAMED: Final = frozenset({"engine.columns", "alerts.sinks"})  # tables; no text stands for them
_WORDS: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting: where it stands, what it may be."""

    path: str  # kafka.bootstrap; of a list's items kafka.topics[].name; of a kind of sink alerts.sinks[file].path
    field: FieldInfo
    allowed: str
    variable: str | None  # of the environment

    @property
    def default(self) -> str:
        """As the file would have it, or that it is required."""
        if self.field.is_required():
            return "required"
        value = self.field.get_default(call_default_factory=True)
        return "none" if value is None else json.dumps(list(value) if isinstance(value, tuple) else value)


def keys(model: type[BaseModel] = ServiceSettings, prefix: str = "") -> Iterator[Key]:
    """All settings in the order of the file, sections left out."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        kinds = _models(field.annotation)
        if len(kinds) == 1 and get_origin(_some(field.annotation)) is not tuple:
            yield from keys(kinds[0], f"{path}.")
            continue
        yield Key(path, field, allowed(field), _variable(path))
        for kind in kinds:
            which = _tag(kind) if len(kinds) > 1 else ""
            yield from keys(kind, f"{path}[{which}].")


def allowed(field: FieldInfo) -> str:
    """What a value may be, in words."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "allowed" in extra:
        return str(extra["allowed"])
    kind = _some(field.annotation)
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    bounds = [
        f"{word} {getattr(bound, name):,}"
        for bound in field.metadata
        for name, word in (("gt", "above"), ("ge", "from"), ("le", "to"))
        if hasattr(bound, name)
    ]
    return ", ".join([_WORDS.get(kind, "see settings.md"), *bounds])


def json_schema() -> dict[str, Any]:
    """JSON Schema of the file; what the environment may write otherwise (lists with commas) is not in it."""
    schema = ServiceSettings.model_json_schema()
    topics = schema["$defs"]["Kafka"]["properties"]["topics"]
    topics["items"] = {"anyOf": [{"type": "string"}, topics["items"]]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def load_service_settings(path: Path | None, environment: Mapping[str, str] | None = None) -> ServiceSettings:
    """The settings of a file and the environment.

    Raises:
        ConfigError: unreadable file, unknown key or variable, value that is not allowed; names file (or variable) and
            key, and says what is allowed.
    """
    environment = os.environ if environment is None else environment
    values, variables = _merged(path, environment)
    try:
        return ServiceSettings.model_validate(values)
    except ValidationError as problem:
        errors = problem.errors(include_url=False, include_input=False)
        errors.sort(key=lambda error: error["type"] != "extra_forbidden")  # a misspelt key is often a missing one too
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        place = _place(errors[0]["loc"])
        key = _shown(errors[0]["loc"])
        file = variables.get(place) or str(path or "environment")
        raise ConfigError(file, key, _said(dict(errors[0]), place) + more) from None  # its text holds the values


def is_service_file(path: Path) -> bool:
    """Whether a settings file is the service's: it has a key of one. Those of a backtest's share none with them.

    Raises:
        ConfigError: unreadable file, or no mapping.
    """
    return not _read(path).keys().isdisjoint(ServiceSettings.model_fields)


def origins(path: Path | None, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Dotted key -> where its value comes from: the file, or a variable. What is not in it is a default."""
    environment = os.environ if environment is None else environment
    values, variables = _merged(path, environment)
    return {place: str(path) for place in _leaves(values)} | variables


def _merged(path: Path | None, environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What is set, and by which variable, by dotted key."""
    values = {} if path is None else _read(path)
    named = {key.variable: key.path for key in keys() if key.variable is not None}
    sections = {name.upper() for name in ServiceSettings.model_fields}
    variables = {}
    for variable in sorted(environment):
        section, nested, _ = variable.removeprefix(ENVIRONMENT_PREFIX).partition("__")
        if variable in named and environment[variable]:
            _put(values, named[variable].split("."), environment[variable])
            variables[named[variable]] = variable
        elif variable.startswith(ENVIRONMENT_PREFIX) and nested and section in sections and variable not in named:
            raise ConfigError(variable, "", f"no such setting{_meant(variable, named)}")
    return values, variables


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as problem:  # its own text quotes the file, which may hold what nobody should see
        mark = getattr(problem, "problem_mark", None)
        line = f"line {mark.line + 1}" if mark else ""
        raise ConfigError(str(path), line, f"is not YAML: {getattr(problem, 'problem', None) or 'bad text'}") from None
    except (OSError, UnicodeDecodeError) as problem:
        what = problem.strerror if isinstance(problem, OSError) else "not UTF-8"
        raise ConfigError(str(path), "", f"cannot be read: {what}") from None
    if values is not None and not isinstance(values, dict):
        raise ConfigError(str(path), "", "must be a mapping of settings")
    return values or {}


def _put(values: dict[str, Any], place: list[str], value: str) -> None:
    """Set a nested value. A section that is no mapping stays, and is told by its own name."""
    for name in place[:-1]:
        if values.get(name) is None:
            values[name] = {}
        if not isinstance(values[name], dict):
            return
        values = values[name]
    values[place[-1]] = value


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict) and f"{prefix}{name}" not in _UNNAMED:
            yield from _leaves(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}"


# --- what is wrong ---


def _said(error: dict[str, Any], place: str) -> str:
    """What is wrong with a key, and what is allowed. Never the value: it may be a secret in the wrong place."""
    known = {key.path: key for key in keys()}
    match error["type"]:
        case "extra_forbidden":
            prefix, dot, name = place.rpartition(".")
            here = sorted({rest.split(".")[0].split("[")[0] for rest in _below(known, f"{prefix}{dot}")})
            return f"no such setting{_meant(name, here)}; there are {', '.join(here)}"
        case "missing":
            said = "is missing"
        case "union_tag_not_found" | "union_tag_invalid":
            return f"type must be one of {error['ctx'].get('expected_tags', 'file, console, kafka')}"
        case _:
            said = error["msg"].removeprefix("Value error, ")
    return f"{said}; allowed: {known[place].allowed.replace('`', '')}" if place in known else said


def _below(paths: Mapping[str, Key], prefix: str) -> list[str]:
    return [path.removeprefix(prefix) for path in paths if path.startswith(prefix)]


def _meant(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _place(loc: tuple[str | int, ...]) -> str:
    """``("alerts", "sinks", 0, "file", "path")`` as `keys` writes it: ``alerts.sinks[file].path``."""
    parts = list(loc)
    text = ""
    while parts:
        part = parts.pop(0)
        if isinstance(part, int):
            tag = parts.pop(0) if parts and text == "alerts.sinks" else ""
            text += f"[{tag}]" if parts else ""
        else:
            text += f".{part}" if text else part
    return text


def _shown(loc: tuple[str | int, ...]) -> str:
    """The same for people: ``alerts.sinks[0].path``."""
    parts = [part for i, part in enumerate(loc) if not (i > 0 and isinstance(loc[i - 1], int) and loc[0] == "alerts")]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


# --- what a model is made of ---


def _some(annotation: Any) -> Any:
    """``X | None`` as X."""
    if get_origin(annotation) in (Union, types.UnionType):
        some = [part for part in get_args(annotation) if part is not type(None)]
        return some[0] if len(some) == 1 else annotation
    return annotation


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation, whatever is around them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _tag(model: type[BaseModel]) -> str:
    return str(get_args(model.model_fields["type"].annotation)[0])


def _variable(path: str) -> str | None:
    """The environment's name of a key; the engine's have no section, as the backtest reads them too."""
    if "[" in path or path in _UNNAMED:
        return None
    return ENVIRONMENT_PREFIX + path.removeprefix("engine.").replace(".", "__").upper()

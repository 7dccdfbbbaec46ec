"""What must be true of the machine for settings to work, and what is allowed but rarely meant."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from detector.alerts.decisions import load_decisions
from detector.assets.plant import load_plant, unknown_keys
from detector.config import Settings
from detector.engine import Engine
from detector.errors import ConfigError, MissingLibrary, StateMismatch
from detector.service import memory
from detector.service.kafka_options import SecretFile, SecretVariable
from detector.service.settings import Model, ServiceSettings
from detector.service.settings_sinks import SecOpsSink, SyslogSink, WebSink
from detector.state.bundle import is_shipped, read_bundle
from detector.state.checkpoints import read_key

_HERE: Final = {"127.0.0.1", "::1", "localhost"}
_OF_SEVERAL_LINES: Final = (".key_file", ".credentials_file")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a key; ``fatal`` when the service would not start or not connect."""

    key: str
    text: str
    fatal: bool


def check(settings: ServiceSettings) -> Iterator[Finding]:
    """All there is to say, worst first within each part. Reads files, opens no connection."""
    yield from _plant(settings.plant)
    yield from _decisions(settings.decisions)
    yield from _model(settings)
    yield from _files(settings)
    yield from _security(settings)
    yield from _sinks(settings)
    yield from _places(settings)
    yield from _memory(settings)


def _memory(settings: ServiceSettings) -> Iterator[Finding]:
    try:
        memory.require(settings)
    except ConfigError as problem:
        yield Finding("memory.limit_bytes", str(problem), fatal=True)


def _decisions(path: Path | None) -> Iterator[Finding]:
    try:
        if path is not None:
            load_decisions(path)
    except ConfigError as problem:
        yield Finding("decisions", str(problem), fatal=True)


def _model(settings: ServiceSettings) -> Iterator[Finding]:
    """The model is what it was, signed as it should be, and fits the engine's settings."""
    wish = settings.model or Model()
    for key, file in (("model.file", wish.file), ("model.shadow", wish.shadow)):
        if file is not None:
            yield from _bundle(key, file, wish.key_file, settings.engine)


def _bundle(key: str, file: Path, public_key: Path | None, engine: Settings) -> Iterator[Finding]:
    try:
        bundle = read_bundle(file, public_key)
        Engine(engine.model_copy(update={"max_entries": 1000, "max_seen": 1000}), model=bundle)
    except (ConfigError, MissingLibrary, StateMismatch) as problem:
        yield Finding(key, str(problem), fatal=True)
        return
    if bundle.signature == "unsigned" and not is_shipped(file):
        yield Finding(key, f"{file} is not signed: whoever can write it decides what is strange", fatal=False)


def _plant(path: Path | None) -> Iterator[Finding]:
    if path is None:
        return
    try:
        ignored = list(unknown_keys(load_plant(path)))
    except ConfigError as problem:
        yield Finding("plant", str(problem), fatal=True)
        return
    if ignored:
        yield Finding("plant", f"{path}: not read by this version: {', '.join(ignored[:5])}", fatal=False)


def _files(settings: ServiceSettings) -> Iterator[Finding]:
    """Files that are named ``..._file`` are there, and secrets are one line that only we can read."""
    security = settings.kafka.security
    for section, name in (
        (security, "kafka.security"),
        (security.sasl, "kafka.security.sasl"),
        (settings.state, "state"),
        (settings.state.s3, "state.s3"),
        (settings.http, "http"),
        *((sink, f"alerts.sinks[{number}]") for number, sink in enumerate(settings.alerts.sinks)),
    ):
        for key, path in _named(section, "_file"):
            yield from _file(f"{name}.{key}", path, secret=key not in {"ca_file", "cert_file"})
        for key, variable in _named(section, "_env"):
            try:
                SecretVariable(variable)()
            except ConfigError as problem:
                yield Finding(f"{name}.{key}", str(problem), fatal=True)


def _named(section: BaseModel | None, end: str) -> Iterator[tuple[str, Any]]:
    values: dict[str, Any] = {} if section is None else dict(section)
    yield from ((key, value) for key, value in values.items() if key.endswith(end) and value is not None)


def _sinks(settings: ServiceSettings) -> Iterator[Finding]:
    """Whether what a sink needs is installed, and what others could read on its way."""
    for number, sink in enumerate(settings.alerts.sinks):
        name = f"alerts.sinks[{number}]"
        if isinstance(sink, SecOpsSink) and find_spec("cryptography") is None:
            yield Finding(f"{name}.type", "needs more: pip install eastwest[secops]", fatal=True)
        if isinstance(sink, SyslogSink) and sink.transport != "tls" and sink.host not in _HERE:
            yield Finding(f"{name}.transport", "alerts go over the network unencrypted", fatal=False)
        if isinstance(sink, WebSink):
            parts = urlsplit(sink.url)
            if parts.scheme == "http" and parts.hostname not in _HERE:
                yield Finding(f"{name}.url", "alerts and secrets go over the network unencrypted", fatal=False)


def _file(key: str, path: Path, *, secret: bool) -> Iterator[Finding]:
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            file.read(1)
    except OSError as problem:
        yield Finding(key, f"{path}: cannot be read: {problem.strerror}", fatal=True)
        return
    if secret and mode & stat.S_IROTH:
        yield Finding(key, f"{path}: everybody on this machine can read it", fatal=False)
    try:
        if key == "state.hmac_key_file":
            read_key(path)
        elif secret and not key.endswith(_OF_SEVERAL_LINES):
            SecretFile(path)()
    except ConfigError as problem:
        yield Finding(key, str(problem), fatal=True)


def _security(settings: ServiceSettings) -> Iterator[Finding]:
    protocol, sasl = settings.kafka.security.protocol, settings.kafka.security.sasl
    if protocol == "SASL_PLAINTEXT" and sasl is not None:
        open_secret = sasl.mechanism in {"PLAIN", "OAUTHBEARER"}
        what = "the secret and all records go" if open_secret else "all records go"
        yield Finding("kafka.security.protocol", f"SASL without TLS: {what} over the network unencrypted", fatal=False)
    if settings.http.host not in _HERE:
        yield Finding("http.host", "metrics are shown to whoever reaches this address; there is no log-on", fatal=False)


def _places(settings: ServiceSettings) -> Iterator[Finding]:
    folders = {"outbox.folder": settings.outbox.folder}
    if settings.state.folder is not None:
        folders["state.url"] = settings.state.folder
    for key, folder in folders.items():
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding(key, f"{folder}: {there} is no folder that can be written to", fatal=True)
    if settings.state.allow_cold_start:
        yield Finding(
            "state.allow_cold_start", "damaged checkpoints would be replaced by an empty memory; unset it", fatal=False
        )
    if settings.state.allow_new_topics:
        yield Finding("state.allow_new_topics", "a topic made anew by mistake would be read without a word; unset it",
                      fatal=False)  # fmt: skip
    if not settings.alerts.sinks:
        yield Finding("alerts.sinks", "nobody is told of alerts; they stay in the outbox", fatal=False)
    if settings.dead_letters is None:
        yield Finding("dead_letters", "unusable records are counted and not kept", fatal=False)

"""Settings of the service: frozen sections, one a concern. No value is ever a secret, only the place of one.

How a file and the environment become these: `service.loading`. What must be true of the machine: `service.checks`.
"""

import difflib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from detector.config import Settings

MIB: Final = 1 << 20
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's Topic.validate
_BROKER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})")
_SINK: Final = r"^[a-z][a-z0-9_-]{0,31}$"


def _says(text: str) -> dict[str, Any]:
    """What is allowed, in words, where the type does not tell."""
    return {"allowed": text}


def _split(values: object) -> object:
    """The environment has them with commas between."""
    return [value.strip() for value in values.split(",") if value.strip()] if isinstance(values, str) else values


def _topic_name(name: str) -> str:
    if not _TOPIC.fullmatch(name) or name in {".", ".."}:
        raise ValueError("is no topic name: 1 to 249 of letters, digits, dot, underscore, hyphen")
    return name


class Section(BaseModel):
    """Unknown keys are errors; a key without a value is as if it were not there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, values: Any) -> Any:
        return (
            {key: value for key, value in values.items() if value is not None} if isinstance(values, dict) else values
        )


class Topic(Section):
    """What is read: one topic, or all whose whole name a pattern matches."""

    name: str | None = Field(default=None, description="The topic.", json_schema_extra=_says("a topic name"))
    pattern: str | None = Field(
        default=None,
        description="In place of the name: every topic whose whole name matches.",
        json_schema_extra=_says("a regular expression of Python"),
    )
    format: str = Field(
        default="auto",
        description="Log type of its records, as in formats.md; auto looks at each record.",
        json_schema_extra=_says("`auto` or a log type"),
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        return _topic_name(name)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as problem:
            raise ValueError(f"is no regular expression: {problem}") from None
        return pattern

    @field_validator("format")
    @classmethod
    def _known(cls, name: str) -> str:
        if name != "auto":
            from detector.formats.registry import LOG_TYPES  # noqa: PLC0415 - loads every reader

            if name not in LOG_TYPES:
                close = difflib.get_close_matches(name, LOG_TYPES, n=3) or ["zeek.conn", "netflow.goflow2"]
                raise ValueError(f"is no log type; some are {', '.join(close)}, all are in formats.md")
        return name

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.name is None) == (self.pattern is None):
            raise ValueError("wants either a name or a pattern")
        return self

    def matches(self, topic: str) -> bool:
        """Whether ``topic`` is meant."""
        return topic == self.name if self.pattern is None else re.fullmatch(self.pattern, topic) is not None


class Sasl(Section):
    """Who we are to the brokers. Passwords and tokens are read from files at each connection, never written here."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(description="How to log on.")
    username: str | None = Field(default=None, min_length=1, description="Account, but for OAUTHBEARER.")
    username_file: Path | None = Field(default=None, description="In place of the username: a file that holds it.")
    password_file: Path | None = Field(default=None, description="File that holds the password.")
    password_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="In place of the file: environment variable that holds the password.",
        json_schema_extra=_says("name of a variable"),
    )
    token_file: Path | None = Field(default=None, description="For OAUTHBEARER: file that holds the token.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        names = [self.username is not None, self.username_file is not None]
        secrets = [self.password_file is not None, self.password_env is not None]
        if self.mechanism == "OAUTHBEARER":
            if self.token_file is None or any(names + secrets):
                raise ValueError("OAUTHBEARER wants token_file, and neither username nor password")
        elif self.token_file is not None or sum(names) != 1 or sum(secrets) != 1:
            raise ValueError(
                f"{self.mechanism} wants one of username and username_file, one of password_file and password_env, "
                "and no token_file"
            )
        return self


class Security(Section):
    """Encryption and authentication. Certificates are read again at each connection."""

    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="Kafka's name of it; the SSL ones are TLS 1.2 or later, host names checked."
    )
    ca_file: Path | None = Field(default=None, description="Authorities (PEM) to trust in place of the system's.")
    cert_file: Path | None = Field(default=None, description="Our certificate (PEM), for mutual TLS.")
    key_file: Path | None = Field(default=None, description="Its private key, when not in the same file.")
    key_password_file: Path | None = Field(default=None, description="File that holds the password of the key.")
    sasl: Sasl | None = Field(default=None, description="Who we are.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        tls = [name for name in ("ca_file", "cert_file", "key_file", "key_password_file") if getattr(self, name)]
        if tls and not self.protocol.endswith("SSL"):
            raise ValueError(f"{tls[0]} has no use with protocol {self.protocol}; use SSL or SASL_SSL")
        if self.cert_file is None and (self.key_file or self.key_password_file):
            raise ValueError("a key wants cert_file too")
        if self.protocol.startswith("SASL") != (self.sasl is not None):
            raise ValueError(f"protocol {self.protocol} {'wants' if self.sasl is None else 'does not take'} sasl")
        return self


class Kafka(Section):
    """Where records come from."""

    bootstrap: Annotated[tuple[str, ...], BeforeValidator(_split)] = Field(
        min_length=1,
        description="Brokers to ask first.",
        json_schema_extra=_says("a list of `host:port`"),
    )
    topics: Annotated[tuple[Topic, ...], BeforeValidator(_split)] = Field(
        min_length=1,
        description="What to read; a plain name stands for `{name: ...}`.",
        json_schema_extra=_says("a list of topics"),
    )
    client_id: str = Field(default="eastwest", min_length=1, description="Our name in the brokers' logs and quotas.")
    group_id: str = Field(
        default="eastwest", min_length=1, description="Group that offsets are shown under, for tools that show lag."
    )
    security: Security = Field(default_factory=Security, description="Encryption and authentication.")
    isolation: Literal["read_committed", "read_uncommitted"] = Field(
        default="read_committed", description="Whether records of aborted transactions are left out."
    )
    start: Literal["earliest", "latest"] = Field(
        default="earliest", description="Where to begin in a partition that no checkpoint knows."
    )
    fetch_bytes: int = Field(
        default=50 * MIB, ge=MIB, le=1024 * MIB, description="Most of one answer of a broker, as compressed."
    )
    partition_bytes: int = Field(
        default=4 * MIB, ge=1024, le=1024 * MIB, description="Most of one partition in an answer, as compressed."
    )
    held_bytes: int = Field(
        default=64 * MIB, ge=MIB, description="Records of one partition that may wait for the others, roughly."
    )
    merge_wait_seconds: float = Field(
        default=1.0, ge=0, le=60, description="Longest that an empty partition holds back the others."
    )
    stall_seconds: float = Field(
        default=30.0, ge=5, le=3600, description="Silence of a partition that has more to give, before it is a stall."
    )

    @field_validator("bootstrap")
    @classmethod
    def _brokers(cls, brokers: tuple[str, ...]) -> tuple[str, ...]:
        for place, broker in enumerate(brokers):
            match = _BROKER.fullmatch(broker)
            if match is None or not 0 < int(match[2]) < 1 << 16:
                raise ValueError(
                    f"number {place + 1} is not host:port, such as kafka-1.example:9092 or [2001:db8::1]:9092"
                )
        return brokers

    @field_validator("topics")
    @classmethod
    def _once(cls, topics: tuple[Topic, ...]) -> tuple[Topic, ...]:
        """A topic that two patterns match is found when the brokers tell their topics, not here."""
        names = [topic.name for topic in topics if topic.name is not None]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"topic {name} is listed twice")
            if also := [topic.pattern for topic in topics if topic.pattern is not None and topic.matches(name)]:
                raise ValueError(f"topic {name} is also matched by the pattern {also[0]}")
        return topics


class Bucket(Section):
    """How an object store is reached. What is not set comes from the environment, as the tools of AWS have it."""

    endpoint: str = Field(
        default="",
        description="URL of a service other than AWS.",
        json_schema_extra=_says("`https://host:port`, or `http://`"),
    )
    region: str = Field(default="", description="Region of the bucket.")
    access_key_file: Path | None = Field(default=None, description="File that holds the id of the access key.")
    secret_key_file: Path | None = Field(default=None, description="File that holds the secret key.")
    ca_file: Path | None = Field(default=None, description="Authorities (PEM) to trust in place of the system's.")

    @field_validator("endpoint")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc):
            raise ValueError("is no such URL")
        return url

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.access_key_file is None) != (self.secret_key_file is None):
            raise ValueError("access_key_file and secret_key_file want each other")
        return self


class State(Section):
    """Where checkpoints are kept."""

    url: str = Field(
        description="Folder, or bucket and prefix, of the checkpoints.",
        json_schema_extra=_says("a folder, `file:///...` or `s3://bucket/prefix`"),
    )
    s3: Bucket | None = Field(default=None, description="How the bucket is reached.")
    every_seconds: float = Field(default=30.0, ge=1, le=3600, description="Time between two checkpoints.")
    every_rows: int | None = Field(default=None, ge=1000, description="Rows after which one is written sooner.")
    keep: int = Field(default=3, ge=2, le=1000, description="Checkpoints that are kept, newest first.")
    hmac_key_file: Path | None = Field(
        default=None, description="Key that signs checkpoints; those of another key are refused."
    )
    allow_cold_start: bool = Field(
        default=False, description="Whether to begin with nothing when no checkpoint that is there can be used."
    )

    @field_validator("url")
    @classmethod
    def _place(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("holds a name or password; those do not belong into a URL")
        bucket = parts.scheme == "s3" and parts.netloc and not parts.query and not parts.fragment
        folder = parts.scheme == "file" and not parts.netloc and parts.path
        if not bucket and not folder and (parts.scheme or not url.strip()):
            raise ValueError("is neither a folder nor file:///... nor s3://bucket/prefix")
        return url

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if self.s3 is not None and self.folder is not None:
            raise ValueError("s3 has no use with a folder")
        return self

    @property
    def folder(self) -> Path | None:
        """The folder, when it is one of this machine."""
        parts = urlsplit(self.url)
        return None if parts.scheme == "s3" else Path(parts.path if parts.scheme else self.url)


class Outbox(Section):
    """The log on disk that alerts are written to before anything is told to anybody."""

    folder: Path = Field(description="Its folder, on a disk that outlives the process.")
    segment_bytes: int = Field(default=16 * MIB, ge=MIB, le=4096 * MIB, description="Size of one file of it.")
    limit_bytes: int = Field(
        default=2048 * MIB, ge=2 * MIB, description="Size at which reading pauses until sinks have caught up."
    )

    @model_validator(mode="after")
    def _several(self) -> Self:
        if self.limit_bytes < 2 * self.segment_bytes:
            raise ValueError("limit_bytes must hold two segments at least: raise it, or lower segment_bytes")
        return self


class DeadLetters(Section):
    """Where records go that could not be used, with the reason."""

    topic: str | None = Field(
        default=None, description="A topic of the same brokers.", json_schema_extra=_says("a topic name")
    )
    file: Path | None = Field(default=None, description="In place of the topic: a file of JSON lines.")

    @field_validator("topic")
    @classmethod
    def _named(cls, name: str) -> str:
        return _topic_name(name)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.topic is None) == (self.file is None):
            raise ValueError("wants either a topic or a file")
        return self


class Sink(Section):
    """A place that alerts go to."""

    name: str | None = Field(
        default=None,
        pattern=_SINK,
        description="Its name in metrics and logs; its type when there is none.",
        json_schema_extra=_says("up to 32 of a-z, 0-9, hyphen, underscore"),
    )

    @property
    def label(self) -> str:
        """Its name in metrics and logs."""
        return self.name or str(getattr(self, "type"))  # noqa: B009 - each kind of sink has its own


class FileSink(Sink):
    """Alerts as JSON lines in a file."""

    type: Literal["file"] = Field(description="A file of JSON lines.")
    path: Path = Field(description="The file; appended to.")


class ConsoleSink(Sink):
    """Alerts as JSON lines on standard output."""

    type: Literal["console"] = Field(description="Standard output.")


class KafkaSink(Sink):
    """Alerts as records of a topic of the same brokers."""

    type: Literal["kafka"] = Field(description="A topic of the same brokers.")
    topic: str = Field(description="The topic.", json_schema_extra=_says("a topic name"))

    @field_validator("topic")
    @classmethod
    def _named(cls, name: str) -> str:
        return _topic_name(name)


AnySink = Annotated[FileSink | ConsoleSink | KafkaSink, Field(discriminator="type")]


class Alerts(Section):
    """Who is told."""

    sinks: tuple[AnySink, ...] = Field(
        default=(), description="Places that alerts go to.", json_schema_extra=_says("a list of sinks")
    )

    @field_validator("sinks")
    @classmethod
    def _told_apart(cls, sinks: tuple[AnySink, ...]) -> tuple[AnySink, ...]:
        labels = [sink.label for sink in sinks]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two sinks are called {label}; give them a name each")
        return sinks


class Http(Section):
    """Where metrics and health are shown."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen at; `0.0.0.0` or `::` is all.",
        json_schema_extra=_says("an address or name of this machine"),
    )
    port: int = Field(default=9108, ge=0, le=65535, description="Port; 0 takes any that is free.")


class Log(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is told.")
    format: Literal["json", "text"] = Field(default="json", description="JSON lines, or text for people.")


class ServiceSettings(Section):
    """Everything that can be set."""

    kafka: Kafka = Field(description="Where records come from.")
    engine: Settings = Field(default_factory=Settings, description="What settings.md says.")
    plant: Path | None = Field(default=None, description="Plant file: zones, conduits, vendors.")
    train_until: datetime | None = Field(
        default=None,
        description="Rows observed before this time only teach.",
        json_schema_extra=_says("a time, ISO 8601; UTC when it has no offset"),
    )
    state: State = Field(description="Where checkpoints are kept.")
    outbox: Outbox = Field(description="The log of alerts on disk.")
    dead_letters: DeadLetters | None = Field(default=None, description="Where unusable records go.")
    alerts: Alerts = Field(default_factory=Alerts, description="Who is told.")
    http: Http = Field(default_factory=Http, description="Where metrics and health are shown.")
    log: Log = Field(default_factory=Log, description="What is written to standard error.")

    @field_validator("train_until", mode="before")
    @classmethod
    def _time_only(cls, value: object) -> object:
        """A bare number would be read as seconds, which nobody means who writes 2026."""
        if isinstance(value, int | float) or (isinstance(value, str) and value.strip().isdigit()):
            raise ValueError("is not a time such as 2026-03-02T07:00:00Z")
        return value

    @field_validator("train_until")
    @classmethod
    def _zoned(cls, time: datetime) -> datetime:
        return time if time.tzinfo else time.replace(tzinfo=UTC)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        """Files and topics that must not be the same."""
        state, outbox = self.state.folder, self.outbox.folder.absolute()
        if state is not None and (state.absolute() in (outbox, *outbox.parents) or outbox in state.absolute().parents):
            raise ValueError("state.url and outbox.folder must be apart: neither the same folder nor one in the other")
        dead = self.dead_letters or DeadLetters.model_construct()
        files = [sink.path for sink in self.alerts.sinks if isinstance(sink, FileSink)]
        topics = [sink.topic for sink in self.alerts.sinks if isinstance(sink, KafkaSink)]
        for kind, ours in (
            ("file", [*files, *filter(None, [dead.file])]),
            ("topic", [*topics, *filter(None, [dead.topic])]),
        ):
            if len(set(ours)) < len(ours):
                raise ValueError(f"alerts.sinks and dead_letters write to the same {kind} twice")
        for topic in (*topics, *filter(None, [dead.topic])):
            if any(read.matches(topic) for read in self.kafka.topics):
                raise ValueError(
                    f"topic {topic} is written to and matched by kafka.topics: we would read our own words"
                )
        return self

    @property
    def train_until_us(self) -> int | None:
        """For the engine: µs since the epoch."""
        return None if self.train_until is None else round(self.train_until.timestamp() * 1e6)

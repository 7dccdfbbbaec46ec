"""Settings of the service: frozen sections, one a concern. No value is ever a secret, only the place of one.

How a file and the environment become these: `service.loading`. What must be true of the machine: `service.checks`.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, field_validator, model_validator

from detector.config import Settings
from detector.service.settings_kafka import MIB, Kafka, Rows, Section, says, split, topic_name
from detector.service.settings_sinks import AnySink, FileSink, KafkaSink


class Bucket(Section):
    """How an object store is reached. What is not set comes from the environment, as the tools of AWS have it."""

    endpoint: str = Field(
        default="",
        description="URL of a service other than AWS.",
        json_schema_extra=says("`https://host:port`, or `http://`"),
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
        json_schema_extra=says("a folder, `file:///...` or `s3://bucket/prefix`"),
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
    allow_new_topics: bool = Field(
        default=False,
        description="Whether to go on with what was learned when topics were deleted and made again, or on another "
        "cluster.",
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
        default=None, description="A topic of the same brokers.", json_schema_extra=says("a topic name")
    )
    file: Path | None = Field(default=None, description="In place of the topic: a file of JSON lines.")

    @field_validator("topic")
    @classmethod
    def _named(cls, name: str) -> str:
        return topic_name(name)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.topic is None) == (self.file is None):
            raise ValueError("wants either a topic or a file")
        return self


class Alerts(Section):
    """Who is told."""

    sinks: tuple[AnySink, ...] = Field(
        default=(), description="Places that alerts go to.", json_schema_extra=says("a list of sinks")
    )

    @field_validator("sinks")
    @classmethod
    def _told_apart(cls, sinks: tuple[AnySink, ...]) -> tuple[AnySink, ...]:
        labels = [sink.label for sink in sinks]
        for label in labels:
            if labels.count(label) > 1:
                raise ValueError(f"two sinks are called {label}; give them a name each")
        return sinks


class Model(Section):
    """What another network taught, to begin with."""

    file: Path | None = Field(default=None, description="The model; see models.md.")
    key_file: Path | None = Field(
        default=None, description="Public key (Ed25519, PEM) that models must be signed for; without one none must."
    )
    shadow: Path | None = Field(
        default=None, description="A candidate that scores beside it; what it says goes to `shadow.ndjson`."
    )


class Memory(Section):
    """What this process may take."""

    limit_bytes: int | None = Field(
        default=None,
        ge=1 << 30,
        description="Memory of this process; it does not start when full tables could take more.",
    )


class Http(Section):
    """Where metrics and health are shown."""

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen at; `0.0.0.0` or `::` is all.",
        json_schema_extra=says("an address or name of this machine"),
    )
    port: int = Field(default=9108, ge=0, le=65535, description="Port; 0 takes any that is free.")
    token_file: Path | None = Field(
        default=None, description="File that holds the token of those who move incidents; without one nobody can."
    )
    token_env: str | None = Field(
        default=None,
        min_length=1,
        description="In place of the file: environment variable that holds the token.",
        json_schema_extra=says("name of a variable"),
    )

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token_file is not None and self.token_env is not None:
            raise ValueError("wants one at most of token_file and token_env")
        return self


class Log(Section):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="The least that is told.")
    format: Literal["json", "text"] = Field(default="json", description="JSON lines, or text for people.")


ALL_STAGES: Final = ("normalize", "score", "correlate")
_SHARES: Final = {ALL_STAGES, ALL_STAGES[:1], ALL_STAGES[1:]}


class ServiceSettings(Section):
    """Everything that can be set."""

    stages: Annotated[tuple[Literal["normalize", "score", "correlate"], ...], BeforeValidator(split)] = Field(
        default=ALL_STAGES,
        description="What this process does: all, [normalize] as one of several, or [score, correlate] behind them.",
        json_schema_extra=says("`[normalize, score, correlate]`, `[normalize]` or `[score, correlate]`"),
    )
    kafka: Kafka = Field(description="Where records come from.")
    rows: Rows = Field(default_factory=Rows, description="Rows between processes.")
    engine: Settings = Field(default_factory=Settings, description="What settings.md says.")
    plant: Path | None = Field(default=None, description="Plant file: zones, conduits, vendors.")
    decisions: Path | None = Field(default=None, description="Decisions about acts: suppressed, learned.")
    train_until: datetime | None = Field(
        default=None,
        description="Rows observed before this time only teach.",
        json_schema_extra=says("a time, ISO 8601; UTC when it has no offset"),
    )
    state: State = Field(description="Where checkpoints are kept.")
    outbox: Outbox = Field(description="The log of alerts on disk.")
    dead_letters: DeadLetters | None = Field(default=None, description="Where unusable records go.")
    alerts: Alerts = Field(default_factory=Alerts, description="Who is told.")
    model: Model | None = Field(default=None, description="The model that a cold start begins with.")
    memory: Memory = Field(default_factory=Memory, description="What this process may take.")
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

    @field_validator("stages")
    @classmethod
    def _offered(cls, stages: tuple[str, ...]) -> tuple[str, ...]:
        """One process scores all there is: what is usual in a network is no sum of what is usual in its parts."""
        if stages not in _SHARES:
            raise ValueError(f"[{', '.join(stages)}] is no share of the work: score and correlate are one process")
        return stages

    @model_validator(mode="after")
    def _rows_are_no_logs(self) -> Self:
        names = [topic.name for topic in self.kafka.topics if topic.name is not None]
        for name in names:
            if name.startswith(self.rows.prefix):
                raise ValueError(f"topic {name} begins as topics of rows do: name another rows.prefix")
            if self.stages != ALL_STAGES:
                topic_name(self.rows.prefix + name)
        return self

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

"""Settings of what is read: sections of `service.settings`."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

MIB: Final = 1 << 20
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's Topic.validate
_BROKER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})")
_INSTANCE: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}$"


def says(text: str) -> dict[str, Any]:
    """What is allowed, in words, where the type does not tell."""
    return {"allowed": text}


def split(values: object) -> object:
    """The environment has them with commas between."""
    return [value.strip() for value in values.split(",") if value.strip()] if isinstance(values, str) else values


def topic_name(name: str) -> str:
    """The name, if it can be one."""
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

    name: str | None = Field(default=None, description="The topic.", json_schema_extra=says("a topic name"))
    pattern: str | None = Field(
        default=None,
        description="In place of the name: every topic whose whole name matches.",
        json_schema_extra=says("a regular expression of Python"),
    )
    format: str = Field(
        default="auto",
        description="Log type of its records, as in formats.md; auto looks at each record.",
        json_schema_extra=says("`auto` or a log type"),
    )
    rows_per_second: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Quota: what a topic brings beyond it, by the broker's time, is left out and counted.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        return topic_name(name)

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
        json_schema_extra=says("name of a variable"),
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

    bootstrap: Annotated[tuple[str, ...], BeforeValidator(split)] = Field(
        min_length=1,
        description="Brokers to ask first.",
        json_schema_extra=says("a list of `host:port`"),
    )
    topics: Annotated[tuple[Topic, ...], BeforeValidator(split)] = Field(
        min_length=1,
        description="What to read; a plain name stands for `{name: ...}`.",
        json_schema_extra=says("a list of topics"),
    )
    client_id: str = Field(default="eastwest", min_length=1, description="Our name in the brokers' logs and quotas.")
    group_id: str = Field(
        default="eastwest", min_length=1, description="Group that offsets are shown under, for tools that show lag."
    )
    group_instance_id: str | None = Field(
        default=None,
        pattern=_INSTANCE,
        description="Name of this process in the group, for [normalize]: started anew it has its share at once.",
        json_schema_extra=says("up to 200 of letters, digits, dot, underscore, hyphen"),
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


class Rows(Section):
    """Where rows are between processes that normalize and the one that scores."""

    prefix: str = Field(
        default="eastwest-rows.",
        min_length=1,
        description="Before the name of a raw topic, it names the topic of its rows.",
        json_schema_extra=says("the beginning of a topic's name"),
    )
    create: bool = Field(default=True, description="Whether to make topics of rows, and partitions, that are missing.")

    @field_validator("prefix")
    @classmethod
    def _named(cls, prefix: str) -> str:
        return topic_name(prefix)

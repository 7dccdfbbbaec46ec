"""Settings of the places that alerts go to: one class a kind, told apart by ``type``."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from detector.service.settings_kafka import Section, says, topic_name

_DATAGRAM: Final = 65_507  # bytes: the longest of UDP over IPv4
_SINK: Final = r"^[a-z][a-z0-9_-]{0,31}$"
AnyFormat = Literal["native", "ecs", "ocsf", "cef", "leef", "cim", "udm"]
"""All of `renderings.kinds.RENDERINGS`."""

JsonFormat = Literal["native", "ecs", "ocsf", "cim", "udm"]
"""Those that are a JSON object."""

_VARIABLE: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Sink(Section):
    """A place that alerts go to."""

    name: str | None = Field(
        default=None,
        pattern=_SINK,
        description="Its name in metrics and logs; its type when there is none.",
        json_schema_extra=says("up to 32 of a-z, 0-9, hyphen, underscore"),
    )

    @property
    def label(self) -> str:
        """Its name in metrics and logs."""
        return self.name or str(getattr(self, "type"))  # noqa: B009 - each kind of sink has its own


class FileSink(Sink):
    """Alerts as lines of a file."""

    type: Literal["file"] = Field(description="A file of lines.")
    format: AnyFormat = Field(default="native", description="How an alert is written.")
    path: Path = Field(description="The file; appended to.")


class ConsoleSink(Sink):
    """Alerts as lines on standard output."""

    type: Literal["console"] = Field(description="Standard output.")
    format: AnyFormat = Field(default="native", description="How an alert is written.")


class KafkaSink(Sink):
    """Alerts as records of a topic of the same brokers."""

    type: Literal["kafka"] = Field(description="A topic of the same brokers.")
    format: AnyFormat = Field(default="native", description="How an alert is written.")
    topic: str = Field(description="The topic.", json_schema_extra=says("a topic name"))

    @field_validator("topic")
    @classmethod
    def _named(cls, name: str) -> str:
        return topic_name(name)


class TlsSink(Sink):
    """A place that is reached by TLS, if so wanted. Files are read at each connection."""

    ca_file: Path | None = Field(default=None, description="Authorities (PEM) to trust in place of the system's.")
    cert_file: Path | None = Field(default=None, description="Our certificate (PEM), for mutual TLS.")
    key_file: Path | None = Field(default=None, description="Its private key, when not in the same file.")

    @model_validator(mode="after")
    def _key(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("key_file wants cert_file too")
        return self


class SyslogSink(TlsSink):
    """Alerts as messages of syslog."""

    type: Literal["syslog"] = Field(description="A syslog receiver, RFC 5424.")
    format: AnyFormat = Field(default="cef", description="How an alert is written.")
    transport: Literal["udp", "tcp", "tls"] = Field(
        default="tls", description="RFC 5426, RFC 6587 with octet counting, or RFC 5425."
    )
    host: str = Field(min_length=1, description="Name or address of the receiver.")
    port: int = Field(default=6514, ge=1, le=65535, description="Its port.")
    server_name: str | None = Field(
        default=None, min_length=1, description="Name that its certificate must have, in place of the host."
    )
    facility: Literal[
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
        "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
    ] = Field(default="local0", description="Facility of all messages.")  # fmt: skip
    hostname: str | None = Field(
        default=None,
        pattern=r"^[!-~]{1,255}$",
        description="Our name in the header; that of this machine when there is none.",
        json_schema_extra=says("up to 255 of printable ASCII"),
    )
    limit_bytes: int = Field(
        default=8192,
        ge=480,
        le=1 << 20,
        description="What the receiver takes of one message; a longer one is set aside.",
    )
    resend: int = Field(
        default=5000,
        ge=0,
        le=100_000,
        description="Messages sent again over a new connection, when the last one broke.",
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        useless = [name for name in ("ca_file", "cert_file", "server_name") if getattr(self, name) is not None]
        if self.transport != "tls" and useless:
            raise ValueError(f"{useless[0]} has no use with transport {self.transport}")
        if self.transport == "udp" and self.limit_bytes > _DATAGRAM:
            raise ValueError(f"limit_bytes is at most {_DATAGRAM} with transport udp")
        return self


class WebSink(TlsSink):
    """A place that is reached by HTTP."""

    url: str = Field(description="Its address.", json_schema_extra=says("`https://host:port/path`, or `http://`"))
    timeout_seconds: float = Field(default=30.0, ge=1, le=300, description="Longest wait for an answer.")

    @field_validator("url")
    @classmethod
    def _address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or parts.fragment:
            raise ValueError("is no such URL; names and passwords do not belong into one")
        return url


def _file(what: str) -> Path | None:
    value: Path | None = Field(default=None, description=f"File that holds the {what}.")
    return value


def _variable(what: str) -> str | None:
    value: str | None = Field(
        default=None,
        pattern=_VARIABLE,
        description=f"In place of the file: environment variable that holds the {what}.",
        json_schema_extra=says("name of a variable"),
    )
    return value


def _at_most_one(section: Section, name: str, *, wanted: bool = False) -> None:
    """Of a secret's file and variable.

    Raises:
        ValueError: both are set, or none where one is wanted.
    """
    found = sum(getattr(section, f"{name}_{place}") is not None for place in ("file", "env"))
    if found > 1 or (wanted and not found):
        raise ValueError(f"wants {'one' if wanted else 'one at most'} of {name}_file and {name}_env")


class SplunkSink(WebSink):
    """Events of Splunk's HTTP Event Collector."""

    type: Literal["splunk"] = Field(description="Splunk's HTTP Event Collector.")
    format: JsonFormat = Field(default="cim", description="How an alert is written.")
    token_file: Path | None = _file("collector's token")
    token_env: str | None = _variable("collector's token")
    index: str | None = Field(default=None, min_length=1, description="Index in place of the token's own.")
    host: str | None = Field(default=None, min_length=1, description="Host that events are said to come from.")
    acknowledge: bool = Field(default=False, description="Whether to wait until events are indexed.")

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        _at_most_one(self, "token", wanted=True)
        return self


class ElasticSink(WebSink):
    """Documents of Elasticsearch or OpenSearch."""

    type: Literal["elastic"] = Field(description="Elasticsearch or OpenSearch.")
    format: JsonFormat = Field(default="ecs", description="How an alert is written.")
    index: str = Field(
        default="logs-eastwest.alerts-default", min_length=1, description="Name of the data stream or index."
    )
    updates: Literal["append", "replace"] = Field(
        default="append",
        description="Whether each revision is a document, or replaces the one before; a data stream takes append only.",
    )
    api_key_file: Path | None = _file("API key (encoded)")
    api_key_env: str | None = _variable("API key (encoded)")
    username: str | None = Field(default=None, min_length=1, description="Account, when there is no API key.")
    password_file: Path | None = _file("password")
    password_env: str | None = _variable("password")

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        _at_most_one(self, "api_key")
        _at_most_one(self, "password", wanted=self.username is not None)
        key, password = (self.api_key_file or self.api_key_env), (self.password_file or self.password_env)
        if (key and (self.username or password)) or (password and not self.username):
            raise ValueError("wants an API key, or username and password, or neither")
        return self


class SentinelSink(WebSink):
    """Rows of a table of Microsoft Sentinel."""

    type: Literal["sentinel"] = Field(description="Microsoft Sentinel, by its Logs Ingestion API.")
    format: JsonFormat = Field(default="native", description="How an alert is written.")
    rule: str = Field(
        pattern=r"^dcr-[0-9a-f]{32}$",
        description="Immutable id of the data collection rule.",
        json_schema_extra=says("`dcr-` and 32 hexadecimal digits"),
    )
    stream: str = Field(
        pattern=r"^Custom-[A-Za-z0-9_]{1,100}$",
        description="Stream of the rule.",
        json_schema_extra=says("`Custom-` and a table's name"),
    )
    tenant: str = Field(min_length=1, description="Directory (tenant) id.")
    client_id: str = Field(min_length=1, description="Application (client) id.")
    client_secret_file: Path | None = _file("application's secret")
    client_secret_env: str | None = _variable("application's secret")
    authority: str = Field(
        default="https://login.microsoftonline.com",
        pattern=r"^https?://[^@]+$",
        description="Where tokens are given out; other clouds have others.",
        json_schema_extra=says("`https://host`"),
    )

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        _at_most_one(self, "client_secret", wanted=True)
        return self


class SecOpsSink(WebSink):
    """Events of Google Security Operations."""

    type: Literal["secops"] = Field(description="Google Security Operations.")
    format: Literal["udm"] = Field(default="udm", description="How an alert is written.")
    credentials_file: Path = Field(description="File that holds the service account's key (JSON).")
    token_url: str = Field(
        default="https://oauth2.googleapis.com/token",
        pattern=r"^https?://[^@]+$",
        description="Where tokens are given out.",
        json_schema_extra=says("`https://host/path`"),
    )


class WebhookSink(WebSink):
    """Signed POSTs, one an alert."""

    type: Literal["webhook"] = Field(description="Any address that takes POSTs.")
    format: AnyFormat = Field(default="native", description="How an alert is written.")
    secret_file: Path | None = _file("key of signatures")
    secret_env: str | None = _variable("key of signatures")
    bearer_file: Path | None = _file("token for `Authorization: Bearer`")
    bearer_env: str | None = _variable("token for `Authorization: Bearer`")

    @model_validator(mode="after")
    def _secrets(self) -> Self:
        _at_most_one(self, "secret")
        _at_most_one(self, "bearer")
        return self


AnySink = Annotated[
    FileSink
    | ConsoleSink
    | KafkaSink
    | SyslogSink
    | SplunkSink
    | ElasticSink
    | SentinelSink
    | SecOpsSink
    | WebhookSink,
    Field(discriminator="type"),
]

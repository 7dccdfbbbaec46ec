"""Settings of the places that alerts go to: one class a kind, told apart by ``type``."""

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from detector.service.settings_kafka import Section, says, topic_name

_SINK: Final = r"^[a-z][a-z0-9_-]{0,31}$"


AnyFormat = Literal["native", "ecs", "ocsf", "cef", "leef", "cim", "udm"]
"""All of `renderings.kinds.RENDERINGS`."""


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


AnySink = Annotated[FileSink | ConsoleSink | KafkaSink, Field(discriminator="type")]

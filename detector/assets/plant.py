"""The plant file: what people know of their network. Every section and field but a zone's ``name`` is optional."""

from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, IPvAnyAddress, IPvAnyNetwork, ValidationError

from detector.errors import ConfigError

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)


class Zone(_Section):
    """A group of hosts with one security need (IEC 62443-3-2); ``purdue_level`` 0 to 5, 3.5 = industrial DMZ."""

    name: str
    purdue_level: float | None = Field(default=None, ge=0, le=5)
    cidrs: tuple[IPvAnyNetwork, ...] = ()


class Conduit(_Section):
    """A permitted way from one zone to another."""

    from_zone: str = Field(alias="from")
    to_zone: str = Field(alias="to")
    services: tuple[str, ...] | Literal["any"] = "any"
    operations: tuple[str, ...] | str = "any"


class Window(_Section):
    """A weekly window in the plant's time zone; an end before the start lies on the next day."""

    day: Weekday
    start: str = Field(alias="from", pattern=r"^\d\d:\d\d$")
    end: str = Field(alias="to", pattern=r"^\d\d:\d\d$")


class Vendor(_Section):
    """A supplier account: the hosts it may reach, through which jump hosts, when."""

    account: str
    hosts: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()


class MaintenanceWindow(_Section):
    """When a zone is worked on, and from which station."""

    zone: str
    day: Weekday
    start: str = Field(alias="from", pattern=r"^\d\d:\d\d$")
    end: str = Field(alias="to", pattern=r"^\d\d:\d\d$")
    station: str | None = None


class Plant(BaseModel):
    """The whole file. Unknown sections are kept out of the way, so that newer plant files still load."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    timezone: str = "UTC"
    zones: tuple[Zone, ...] = ()
    conduits: tuple[Conduit, ...] = ()
    vendors: tuple[Vendor, ...] = ()
    maintenance_windows: tuple[MaintenanceWindow, ...] = ()
    known_servers: dict[str, tuple[IPvAnyAddress, ...]] = {}

    def permits(self, from_zone: str, to_zone: str, service: str) -> bool:
        """Whether a declared conduit allows ``service`` this way. Inside one zone everything is permitted."""
        return from_zone == to_zone or any(
            conduit.from_zone == from_zone
            and conduit.to_zone == to_zone
            and (conduit.services == "any" or service in conduit.services)
            for conduit in self.conduits
        )


def load_plant(path: Path) -> Plant:
    """Read a plant file.

    Raises:
        ConfigError: not readable, not YAML, or a field is wrong; names the key.
    """
    try:
        content: Any = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ConfigError(str(path), "", f"cannot be read as YAML: {problem}") from problem
    try:
        plant = Plant.model_validate(content or {})
    except ValidationError as problem:
        first = problem.errors()[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])), first["msg"]) from problem
    names = [zone.name for zone in plant.zones]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(str(path), "zones", f"zone {name!r} is declared twice")
    return plant

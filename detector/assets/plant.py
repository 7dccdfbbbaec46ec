"""The plant file: what people know of their network. Every section, and every field but a zone's ``name``, is optional.

Sections and fields this version does not know are kept out of the way, so that a newer file still loads; `unknown_keys`
lists them, because a misspelt key is one too.
"""

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, Field, IPvAnyAddress, IPvAnyNetwork, ValidationError, field_validator

from detector.assets.section import Section
from detector.assets.windows import Window
from detector.errors import ConfigError

_TEXT: Final = 100  # characters of a name, role or owner
Importance = Literal["low", "normal", "high", "critical"]


class Zone(Section):
    """A group of hosts with one security need (IEC 62443-3-2); ``purdue_level`` 0 to 5, 3.5 = industrial DMZ."""

    name: str
    purdue_level: float | None = Field(default=None, ge=0, le=5)
    cidrs: tuple[IPvAnyNetwork, ...] = ()


class Conduit(Section):
    """A permitted way from one zone to another; None = any zone."""

    from_zone: str | None = Field(default=None, alias="from")
    to_zone: str | None = Field(default=None, alias="to")
    services: tuple[str, ...] | str = "any"
    operations: tuple[str, ...] | str = "any"

    def permits(self, from_zone: str, to_zone: str, service: str) -> bool:
        """Whether ``service`` may go this way."""
        services = (self.services,) if isinstance(self.services, str) else self.services
        return (
            self.from_zone in (None, from_zone)
            and self.to_zone in (None, to_zone)
            and (service in services or "any" in services)
        )


class Vendor(Section):
    """A supplier account: the hosts its sessions come from, through which jump hosts, when."""

    account: str | None = None
    hosts: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()


class MaintenanceWindow(Window):
    """When a zone is worked on, and from which station."""

    zone: str | None = None
    station: str | None = None


class DeclaredAsset(Section):
    """A host, or several that are alike: who reads an alert learns what it is and whom to call."""

    hosts: tuple[IPvAnyNetwork, ...] = ()
    name: str | None = Field(default=None, max_length=_TEXT)
    role: str | None = Field(default=None, max_length=_TEXT)
    importance: Importance | None = None
    owner: str | None = Field(default=None, max_length=_TEXT)


_UNKNOWN: Final = DeclaredAsset()


class Plant(Section):
    """The whole file."""

    timezone: str = "UTC"
    zones: tuple[Zone, ...] = ()
    conduits: tuple[Conduit, ...] = ()
    vendors: tuple[Vendor, ...] = ()
    maintenance_windows: tuple[MaintenanceWindow, ...] = ()
    known_servers: dict[str, tuple[IPvAnyAddress, ...]] = Field(default={})
    assets: tuple[DeclaredAsset, ...] = ()

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (OSError, ValueError, KeyError):  # a folder, an absolute path, a name that is not there
            raise ValueError(f"{name!r} is no IANA time zone, such as Europe/London") from None
        return name

    def asset(self, address: str) -> DeclaredAsset:
        """What is declared of a host: the first entry of the most specific network it is in."""
        place = ip_address(address)
        found = [(-network.prefixlen, order) for order, asset in enumerate(self.assets)
                 for network in asset.hosts if network.version == place.version and place in network]  # fmt: skip
        return self.assets[min(found)[1]] if found else _UNKNOWN

    def permits(self, from_zone: str, to_zone: str, service: str) -> bool:
        """Whether a declared conduit allows ``service`` this way. Inside one zone everything is permitted."""
        return from_zone == to_zone or any(conduit.permits(from_zone, to_zone, service) for conduit in self.conduits)


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
        plant = Plant.model_validate({} if content is None else content)
    except ValidationError as problem:
        first = problem.errors()[0]
        raise ConfigError(str(path), ".".join(map(str, first["loc"])), first["msg"]) from problem
    names = [zone.name for zone in plant.zones]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(str(path), "zones", f"zone {name!r} is declared twice")
    return plant


def unknown_keys(section: BaseModel, place: str = "") -> Iterator[str]:
    """Dotted keys of the file that no part of this version reads."""
    yield from (f"{place}{key}" for key in section.model_extra or ())
    for name in type(section).model_fields:
        value = getattr(section, name)
        for index, item in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(item, BaseModel):
                yield from unknown_keys(item, f"{place}{name}.{index}.")

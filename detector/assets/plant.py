"""The plant file: what people know of their network. Every section, and every field but a zone's ``name``, is optional.

Sections and fields this version does not know are kept out of the way, so that a newer file still loads; `unknown_keys`
lists them, because a misspelt key is one too.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, Field, IPvAnyAddress, IPvAnyNetwork, ValidationError, field_validator

from detector.assets import services
from detector.assets.industrial import CONSEQUENCES
from detector.assets.operations import facts, is_industrial
from detector.assets.roles import role_of
from detector.assets.section import Section
from detector.assets.vendors import Networks, Vendor, unknown_assets
from detector.assets.windows import Window
from detector.errors import ConfigError

EXTERNAL: Final = "external"
"""The zone of hosts that are in none and outside."""
_TEXT: Final = 100  # characters of a name, role or owner
Importance = Literal["low", "normal", "high", "critical"]


class Zone(Section):
    """A group of hosts with one security need (IEC 62443-3-2). A host is in one zone: the one that names its address
    in ``hosts``, else the one that has its declared role in ``roles``, else the one with the longest of ``cidrs``.

    ``purdue_level`` 0 to 5, 3.5 = industrial DMZ; ``security_level`` is the target SL-T 0 to 4 of IEC 62443-3-3.
    What no conduit permits into or out of an ``enforced`` zone is a violation.
    """

    name: str
    purdue_level: float | None = Field(default=None, ge=0, le=5)
    security_level: int | None = Field(default=None, ge=0, le=4)
    cidrs: tuple[IPvAnyNetwork, ...] = ()
    hosts: tuple[IPvAnyAddress, ...] = ()
    roles: tuple[str, ...] = ()
    enforced: bool = False


PORTS: Final = re.compile(r"(tcp|udp)/(\d{1,5})(?:-(\d{1,5}))?")
"""A service by its port, or by a range of them."""


class Conduit(Section):
    """A permitted way from one zone to another; None = any zone, ``office*`` = every zone whose name begins so.

    ``services`` are names (`assets.services`), or ports such as ``tcp/8443`` and ``tcp/49152-65535``. ``operations``
    are classes of consequence (`CONSEQUENCES`; of plant protocols) or beginnings of operations.
    """

    name: str | None = Field(default=None, max_length=_TEXT)
    note: str | None = None
    from_zone: str | None = Field(default=None, alias="from")
    to_zone: str | None = Field(default=None, alias="to")
    services: tuple[str, ...] | str = "any"
    operations: tuple[str, ...] | str = "any"
    direction: Literal["forward", "both"] = "forward"
    windows: tuple[Window, ...] = ()

    def permits(self, from_zone: str, to_zone: str, service: str) -> bool:
        """Whether ``service`` may go this way, whatever it does there."""
        return self.leads(from_zone, to_zone) and self.carried_as(service) is not None

    def leads(self, from_zone: str, to_zone: str) -> bool:
        """Whether it goes this way, or, in both directions, back."""
        here = _is_zone(self.from_zone, from_zone) and _is_zone(self.to_zone, to_zone)
        back = _is_zone(self.from_zone, to_zone) and _is_zone(self.to_zone, from_zone)
        return here or (self.direction == "both" and back)

    def carried_as(self, service: str, port: int | None = None) -> int | None:
        """The first of its services that this one is, None = none of them."""
        asked = (place for place, spec in enumerate(words(self.services)) if _is_service(spec, service, port))
        return next(asked, None)

    def allows(self, protocol: str, operation: str) -> bool:
        """Whether an operation of a protocol may be done over it."""
        asked = words(self.operations)
        if "any" in asked:
            return True
        kinds = tuple("control" if word == "operate" else word for word in asked)
        return consequence(protocol, operation) in kinds or operation.startswith(asked)


def _is_zone(pattern: str | None, name: str) -> bool:
    """Whether a conduit's end is a zone; ``office*`` is every zone whose name begins so."""
    return pattern is None or pattern == name or (pattern.endswith("*") and name.startswith(pattern[:-1]))


def words(text: tuple[str, ...] | str) -> tuple[str, ...]:
    """One word is a list of one."""
    return (text,) if isinstance(text, str) else text


def consequence(protocol: str, operation: str) -> str | None:
    """The class of consequence of an operation on plant equipment; None for all others."""
    return CONSEQUENCES[facts(protocol, operation).consequence or 0] if is_industrial(protocol) else None


def act_class(protocol: str | None, operation: str | None) -> str:
    """What kind of act an operation is: its class of consequence, or the protocol and what stands before the first
    colon; empty for a connection.

    >>> act_class("modbus", "READ_COILS"), act_class("smb", "write:C$:exe"), act_class(None, None)
    ('read', 'smb write', '')
    """
    if protocol is None or operation is None:
        return ""
    return consequence(protocol, operation) or f"{protocol} {operation.partition(':')[0]}"


def _is_service(spec: str, service: str, port: int | None) -> bool:
    """Whether a service goes by this name or port."""
    if spec in ("any", service):
        return True
    ports = PORTS.fullmatch(spec)
    if ports is None or port is None:
        return False
    return int(ports[2]) <= port <= int(ports[3] or ports[2]) and services.runs_over(service, ports[1])


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
        if not self.assets:
            return _UNKNOWN
        place = ip_address(address)
        found = [(-network.prefixlen, order) for order, asset in enumerate(self.assets)
                 for network in asset.hosts if network.version == place.version and place in network]  # fmt: skip
        return self.assets[min(found)[1]] if found else _UNKNOWN

    def role(self, address: str) -> str | None:
        """What is declared that a host is: its own entry, then known servers, then suppliers' hosts; one of our roles
        or somebody's own word."""
        role = self.asset(address).role
        if role is not None:
            return role_of(role)
        for purpose, hosts in sorted(self.known_servers.items()):
            if any(str(host) == address for host in hosts):
                return role_of(purpose)
        return "vendor_gateway" if any(address in Networks(vendor.hosts) for vendor in self.vendors) else None

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
    for key, mistake in mistakes(plant):
        raise ConfigError(str(path), key, mistake)
    return plant


def mistakes(plant: Plant) -> Iterator[tuple[str, str]]:
    """Key and what is wrong with it: zones of one name, hosts in two zones, ways to what is none."""
    names = [zone.name for zone in plant.zones]
    yield from (("zones", f"zone {name!r} is declared twice") for name in names if names.count(name) > 1)
    seen: dict[str, str] = {}
    for place, zone in enumerate(plant.zones):
        claims = [("cidrs", str(one)) for one in zone.cidrs] + [("hosts", str(one)) for one in zone.hosts]
        for section, claim in claims + [("roles", role_of(one)) for one in zone.roles]:
            owner = seen.setdefault(f"{section} {claim}", zone.name)
            if owner != zone.name:
                yield f"zones.{place}.{section}", f"{claim} is in zone {owner!r}, too"
    yield from _torn(
        plant, {key.removeprefix("roles "): zone for key, zone in seen.items() if key.startswith("roles ")}
    )
    for place, conduit in enumerate(plant.conduits):
        for key, name in (("from", conduit.from_zone), ("to", conduit.to_zone)):
            if not any(_is_zone(name, known) for known in (EXTERNAL, *names)):
                yield f"conduits.{place}.{key}", f"there is no zone {name!r}"
    roles = {asset.role for asset in plant.assets if asset.role} | {*plant.known_servers}
    yield from unknown_assets(plant.vendors, {*names, *roles, *map(role_of, roles)})


def _torn(plant: Plant, zones: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Known servers whose purposes are roles of different zones."""
    named = {str(host) for zone in plant.zones for host in zone.hosts}
    found: dict[str, str] = {}
    for purpose, hosts in sorted(plant.known_servers.items()):
        zone = zones.get(role_of(purpose))
        for host in map(str, hosts):
            if zone is None or host in named or plant.asset(host).role is not None:
                continue
            if found.setdefault(host, zone) != zone:
                yield f"known_servers.{purpose}", f"{host} would be in zone {found[host]!r} and zone {zone!r}"


def unknown_keys(section: BaseModel, place: str = "") -> Iterator[str]:
    """Dotted keys of the file that no part of this version reads."""
    yield from (f"{place}{key}" for key in section.model_extra or ())
    for name in type(section).model_fields:
        value = getattr(section, name)
        for index, item in enumerate(value if isinstance(value, tuple) else ()):
            if isinstance(item, BaseModel):
                yield from unknown_keys(item, f"{place}{name}.{index}.")

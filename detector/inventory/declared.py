"""What people say of their hosts: the plant file, and a table of their own or out of NetBox."""

import csv
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from detector.assets.plant import DeclaredAsset, Plant
from detector.assets.roles import ROLES
from detector.errors import ConfigError

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "address": ("address", "ip", "ip address", "ip_address", "primary_ip4", "primary_ip6", "primary_ip", "host"),
    "name": ("name", "dns name", "dns_name", "hostname"),
    "role": ("role", "device_role", "device role"),
    "importance": ("importance", "criticality"),
    "owner": ("owner", "tenant"),
}
"""Our column -> headers it is read from, first present wins: ours, NetBox's exports of devices and of addresses."""
_NETBOX_ADDRESSES: Final = frozenset({"vrf", "nat (inside)", "assigned"})
"""Only NetBox's export of addresses has these; its role is of the address (VIP, loopback), not of the host."""
_IMPORTANCES: Final = {"1": "low", "2": "normal", "3": "high", "4": "critical", "medium": "normal"}
_SPELLINGS: Final = {
    spelling: role
    for role, spellings in {
        "domain_controller": "dc domain_controllers",
        "file_server": "fileserver nas",
        "database": "database_server db",
        "web_server": "webserver application_server",
        "mail_server": "mailserver",
        "proxy": "web_proxy",
        "management_server": "monitoring deployment orchestration directory_sync",
        "backup_server": "backup",
        "scanner": "vulnerability_scanner vulnerability_scanners",
        "jump_host": "jump_server jump_hosts bastion",
        "vendor_gateway": "supplier vendor",
        "workstation": "desktop laptop client",
        "iot": "camera",
        "network_device": "router switch firewall",
        "historian": "historians",
        "scada_server": "scada mes",
        "engineering_workstation": "ews",
        "hmi": "panel operator_panel",
        "plc": "rtu controller ied",
    }.items()
    for spelling in spellings.split()
}
"""Other words for our roles, those of the plant file's ``known_servers`` among them."""


def role_of(text: str) -> str:
    """Our name of a declared role where we have one, else the text.

    >>> role_of("Jump server"), role_of("Paint robot")
    ('jump_host', 'Paint robot')
    """
    name = text.strip().lower().replace(" ", "_").replace("-", "_")
    name = _SPELLINGS.get(name, name)
    return name if name in ROLES else text.strip()


def declared_role(plant: Plant, address: str) -> str | None:
    """What the plant file says a host is: its own entry, then known servers, then suppliers' hosts."""
    role = plant.asset(address).role
    if role is not None:
        return role_of(role)
    for purpose, hosts in sorted(plant.known_servers.items()):
        if any(str(host) == address for host in hosts):
            return role_of(purpose)
    return "vendor_gateway" if any(address in vendor.hosts for vendor in plant.vendors) else None


def is_declared(plant: Plant, address: str) -> bool:
    """Whether somebody named this very host."""
    return declared_role(plant, address) is not None or plant.asset(address).name is not None


def load_declared(path: Path) -> list[DeclaredAsset]:
    """A table of hosts as entries of the plant file; rows without an address (not yet assigned in NetBox) are passed
    over.

    Raises:
        ConfigError: not readable, no column of addresses, or a value that is wrong; names line and column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            headers = {(name or "").strip().lower(): name for name in lines.fieldnames or ()}
            columns = {ours: _column(headers, names) for ours, names in COLUMNS.items()}
            if columns["address"] is None:
                raise ConfigError(str(path), "line 1", f"no column of addresses; name one {COLUMNS['address'][0]}")
            if headers.keys() & _NETBOX_ADDRESSES:
                columns["role"] = None
            rows = [(lines.line_num, row) for row in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise ConfigError(str(path), "", f"cannot be read as CSV: {problem}") from problem
    found = (_asset(path, number, row, columns) for number, row in rows)
    return [asset for asset in found if asset is not None]


def _column(headers: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((headers[name] for name in names if name in headers), None)


def _asset(path: Path, number: int, row: dict[str, Any], columns: dict[str, str | None]) -> DeclaredAsset | None:
    cells = {ours: (row.get(theirs) or "").strip() for ours, theirs in columns.items() if theirs is not None}
    address = cells.pop("address").partition("/")[0]  # NetBox adds the length of the network
    if not address:
        return None
    told = {name: value for name, value in cells.items() if value}
    if "importance" in told:
        told["importance"] = _IMPORTANCES.get(told["importance"].lower(), told["importance"].lower())
    try:
        return DeclaredAsset.model_validate({"hosts": [address], **told})
    except ValidationError as problem:
        first = problem.errors()[0]
        raise ConfigError(str(path), f"line {number}, {first['loc'][0]}", first["msg"]) from problem

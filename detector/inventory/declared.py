"""What people say of their hosts: the plant file, and a table of their own or out of NetBox."""

import csv
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from detector.assets.plant import DeclaredAsset, Plant
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


def is_declared(plant: Plant, address: str) -> bool:
    """Whether somebody named this very host."""
    return plant.role(address) is not None or plant.asset(address).name is not None


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

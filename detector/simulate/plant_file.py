"""The plant file: what the people of this plant would declare about it."""

from typing import Final

from .cells import MAINTENANCE, maintenance_weekday
from .plant import Plant, Role
from .rhythm import TIMEZONE, WEEKDAYS
from .suppliers import WINDOW
from .violations import TEMPORARY, name_of

_MEMBER: Final = "dns, ntp, kerberos, ldap, epmap, smb, tcp/high"  # what a member of the domain asks of its controllers


def plant_yaml(plant: Plant, temporary: str | None = None) -> str:
    """The plant file as YAML text; with ``temporary`` a supplier's access that ends on that day."""
    parts = [
        f"name: simulated car plant\ntimezone: {TIMEZONE}",
        _zones(plant),
        _conduits(plant),
        _vendors(plant, temporary),
    ]
    return "\n".join([*parts, _windows(plant), _servers(plant)]) + "\n"


def _zones(plant: Plant) -> str:
    lines = [f"  - {{name: {z.name}, purdue_level: {z.level:g}, cidrs: [{z.cidr}]}}" for z in plant.zones]
    return "\n".join(["zones:", *lines])


def _conduits(plant: Plant) -> str:
    offices = [zone.name for zone in plant.zones if zone.name.startswith("office")]
    rules = [(office, "industrial_dmz", "rdp, https", "any") for office in offices]
    rules += [
        ("it_admin", "industrial_dmz", "rdp, ssh, winrm, smb, epmap, tcp/high, https", "any"),
        ("supplier_vpn", "industrial_dmz", "rdp, https", "any"),
        ("industrial_dmz", "site_operations", "rdp", "any"),
        ("industrial_dmz", "servers", f"{_MEMBER}, wsus", "any"),
        ("servers", "industrial_dmz", "snmp, icmp, https, mssql, ssh, winrm, smb, tcp/high", "any"),
        ("servers", "site_operations", "http, snmp, icmp, smb, tcp/high", "any"),
        ("site_operations", "industrial_dmz", "mssql, https", "any"),
        ("site_operations", "servers", _MEMBER, "any"),
    ]
    for cell in range(1, plant.cells + 1):
        rules.append(("site_operations", f"cell{cell}_supervision", "opcua", "any"))
        rules.append((f"cell{cell}_supervision", "site_operations", "http", "any"))
        rules.append((f"cell{cell}_supervision", "servers", "dns", "any"))
        rules.append((f"cell{cell}_supervision", f"cell{cell}_control", "modbus, s7comm", "any"))
        rules.append(("site_operations", f"cell{cell}_control", "modbus, s7comm", "read"))
    lines = [f"  - {{from: {a}, to: {b}, services: [{s}], operations: {o}}}" for a, b, s, o in rules]
    return "\n".join(["conduits:", *lines])


def _vendors(plant: Plant, temporary: str | None) -> str:
    """The suppliers; ``temporary`` is the day on which that of `violations` loses its access."""
    lines = ["vendors:"]
    for supplier in plant.suppliers:
        windows = ", ".join(f'{{day: {WEEKDAYS[d]}, from: "{WINDOW[0]}", to: "{WINDOW[1]}"}}' for d in supplier.days)
        account = plant.accounts[supplier.user]
        host, jump = plant.hosts[supplier.host].address, plant.hosts[supplier.jump].address
        may = "" if plant.s7[supplier.cell] else ", operations: [read, write]"
        station = plant.hosts[int(plant.station[supplier.cell])].address
        what = f"name: {name_of(plant, supplier)}, assets: [{station}, cell{supplier.cell + 1}_control]{may}"
        lines.append(f"  - {{account: {account}, hosts: [{host}], via: [{jump}], windows: [{windows}], {what}}}")
    if temporary is not None:
        host, jumps = plant.hosts[int(plant.of(Role.RETIRED)[0])].address, plant.of(Role.JUMP).tolist()
        via = ", ".join(plant.hosts[jump].address for jump in jumps)
        lines.append(f"  - {{name: {TEMPORARY}, hosts: [{host}], via: [{via}], expires: {temporary}}}")
    return "\n".join(lines)


def _windows(plant: Plant) -> str:
    lines = ["maintenance_windows:"]
    for cell in range(plant.cells):
        day, station = WEEKDAYS[maintenance_weekday(cell)], plant.hosts[int(plant.station[cell])].address
        window = f'from: "{MAINTENANCE[0]}", to: "{MAINTENANCE[1]}", station: {station}'
        lines.append(f"  - {{zone: cell{cell + 1}_control, day: {day}, {window}}}")
    return "\n".join(lines)


def _servers(plant: Plant) -> str:
    named = (
        ("domain_controllers", Role.DC),
        ("vulnerability_scanners", Role.SCANNER),
        ("deployment", Role.DEPLOY),
        ("orchestration", Role.CONFIG),
        ("directory_sync", Role.SYNC),
        ("backup", Role.BACKUP),
        ("monitoring", Role.MONITOR),
        ("jump_hosts", Role.JUMP),
        ("historians", Role.HISTORIAN),
    )
    lines = [
        f"  {name}: [{', '.join(plant.hosts[i].address for i in plant.of(role).tolist())}]" for name, role in named
    ]
    return "\n".join(["known_servers:", *lines])

"""The plant file: what the people of this plant would declare about it."""

from typing import Final

from .cells import MAINTENANCE, maintenance_weekday
from .plant import Plant, Role
from .rhythm import TIMEZONE, WEEKDAYS
from .suppliers import WINDOW
from .violations import TEMPORARY, name_of

_MEMBER: Final = "dns, ntp, kerberos, ldap, epmap, smb, tcp/high"  # what a member of the domain asks of its controllers
_DESK: Final = "http, https, proxy, rdp, ssh, winrm, wsus"  # what people and their desks use besides
_LOOKS: Final = "[read, Start Upload, Upload, End Upload]"  # values and programs are read at any time
_SCANNED: Final = "epmap, http, http-alt, https, icmp, netbios-ssn, rdp, smb, snmp, ssh, tcp/161, winrm, tcp/high"
"""What the servers that scan, watch, deploy and orchestrate reach."""


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
    """Every way that ordinary life goes between zones; programs change in declared windows only."""
    rules = [
        ("office*", "office*", "delivery-optimization, jetdirect, http, smb"),
        ("office*", "servers", f"{_MEMBER}, {_DESK}, mssql"),
        ("office*", "it_admin", "delivery-optimization"),
        ("office*", "industrial_dmz", "rdp, https, http, mssql, ssh"),
        ("it_admin", "servers", f"{_MEMBER}, {_DESK}"),
        ("it_admin", "office*", "delivery-optimization, jetdirect, http, epmap, rdp, smb, tcp/high, winrm"),
        ("it_admin", "industrial_dmz", "rdp, ssh, winrm, smb, epmap, tcp/high, https"),
        ("servers", "office*", _SCANNED),
        ("servers", "it_admin", _SCANNED),
        ("servers", "external", "https, smtp"),
        ("external", "servers", "smtp"),
        ("supplier_vpn", "servers", "dns, kerberos"),
        ("supplier_vpn", "industrial_dmz", "rdp, https"),
        ("industrial_dmz", "site_operations", "rdp"),
        ("industrial_dmz", "servers", f"{_MEMBER}, wsus"),
        ("servers", "industrial_dmz", f"{_SCANNED}, mssql"),
        ("servers", "site_operations", "http, snmp, icmp, smb, tcp/high"),
        ("site_operations", "industrial_dmz", "mssql, https"),
        ("site_operations", "servers", _MEMBER),
    ]
    lines = [_conduit(a, b, services) for a, b, services in rules]
    for cell in range(plant.cells):
        panels, controllers = f"cell{cell + 1}_supervision", f"cell{cell + 1}_control"
        lines.append(_conduit("site_operations", panels, "opcua"))
        lines.append(_conduit(panels, "site_operations", "http"))
        lines.append(_conduit(panels, "servers", "dns"))
        lines.append(_conduit(panels, controllers, "modbus, s7comm"))
        lines.append(_conduit("site_operations", controllers, "modbus, s7comm", _LOOKS))
        windows = f", windows: [{', '.join(_changes(plant, cell))}]"
        lines.append(_conduit("site_operations", controllers, "modbus, s7comm", "[write, mode, program]", windows))
    return "\n".join(["conduits:", *lines])


def _conduit(begin: str, end: str, services: str, operations: str = "any", more: str = "") -> str:
    """A line; YAML takes a star at the beginning of a word for something else, and in the middle as it is."""
    return f"  - {{from: {begin}, to: {end}, services: [{services}], operations: {operations}{more}}}"


def _changes(plant: Plant, cell: int) -> list[str]:
    """The windows in which programs and values of a cell may change: its evening, and those of its suppliers."""
    evening = f'{{day: {WEEKDAYS[maintenance_weekday(cell)]}, from: "{MAINTENANCE[0]}", to: "{MAINTENANCE[1]}"}}'
    days = [day for supplier in plant.suppliers if supplier.cell == cell for day in supplier.days]
    return [evening, *(f'{{day: {WEEKDAYS[day]}, from: "{WINDOW[0]}", to: "{WINDOW[1]}"}}' for day in days)]


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

"""The techniques that a drill can play: what an intruder does, to which hosts, and which logs show it.

Identifiers and names are MITRE ATT&CK's (enterprise and ICS). A technique that none of a network's logs can show is
not played: that the engine misses what no sensor wrote down says nothing of the engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from detector.alerts.attack import TECHNIQUES
from detector.drill.network import FLOWS, Network
from detector.simulate.it_records import ADMIN_CALLS
from detector.simulate.services import HALT, ONLY_WRITES, Kind
from detector.simulate.stories_deeds import Deed

_WMI: Final = ADMIN_CALLS.index(("IWbemServices", "ExecMethod"))
_TASK: Final = ADMIN_CALLS.index(("ITaskSchedulerService", "SchRpcRegisterTask"))
_CONNECTIONS: Final = frozenset({FLOWS, "conn"})
_SESSIONS: Final = ("rdp", "ssh", "vnc")
_PLANT_LEVEL: Final = 3.0  # Purdue level of site operations, and below
_WINDOWS: Final = ("smb", "epmap", "rdp", "winrm", "netbios-ssn")
WRITABLE: Final = ("s7comm", "modbus", "dnp3")
"""Protocols of controllers for which records can be written."""


@dataclass(frozen=True, slots=True)
class Technique:
    """One technique.

    Args:
        id: of ATT&CK.
        shown_by: logs of which one must be there; `FLOWS` and ``conn`` are connections.
        targets: hosts it can be done to; none when the network has no such host.
        lacking: what a network without such hosts lacks.
        deed: of a target: what is done, as `simulate` has it, and the service it goes over.
        moves: whether the intruder is on the target afterwards.
        from_station: only from hosts that talk to the target anyway: controllers answer no others' address.
    """

    id: str
    shown_by: frozenset[str]
    targets: Callable[[Network], list[str]]
    lacking: str
    deed: Callable[[Network, str], tuple[Deed, str]]
    moves: bool = True
    from_station: bool = False

    @property
    def name(self) -> str:
        """As ATT&CK calls it."""
        return TECHNIQUES[self.id].name if self.id in TECHNIQUES else self.id

    def visible(self, network: Network) -> bool:
        """Whether the network's logs can show it."""
        return bool(self.shown_by & network.logs)

    def why_not(self, network: Network) -> str | None:
        """Why it is not played; None when it can be."""
        if not self.visible(network):
            return f"not visible in these logs: needs {' or '.join(sorted(self.shown_by))}"
        return None if self.targets(network) else f"nowhere to play it: {self.lacking}"


def windows(network: Network) -> list[str]:
    """Hosts that answer on what Windows offers."""
    return sorted({host for service in _WINDOWS for host in network.servers(service)})


def controllers(network: Network, *protocols: str) -> list[str]:
    """Hosts that answer over these protocols of plants, and that somebody asks."""
    sides = {f"{protocol} server" for protocol in protocols}
    served = {resp for _, resp, protocol in network.acts if protocol in protocols}
    found = [asset.address for asset in network.assets.values() if sides & set(asset.ot_roles)]
    return sorted(address for address in found if address in served)


def stations(network: Network, controller: str) -> list[str]:
    """Hosts that talk to a controller over a protocol of plants."""
    return sorted({
        orig for orig, resp, protocol in network.acts
        if resp == controller and protocol in WRITABLE and orig in network.assets
    })  # fmt: skip


def plant_hosts(network: Network) -> list[str]:
    """Hosts of site operations and below, or that talk to controllers; not the controllers."""
    found = []
    for asset in network.assets.values():
        deep = asset.level is not None and asset.level <= _PLANT_LEVEL
        clients = any(side.endswith(" client") for side in asset.ot_roles)
        servers = any(side.endswith(" server") and not side.startswith("opcua") for side in asset.ot_roles)
        if (deep or clients) and not servers:
            found.append(asset.address)
    return sorted(found)


def directory(network: Network) -> list[str]:
    """Hosts that issue tickets, or are domain controllers by what they do."""
    roles = [asset.address for asset in network.assets.values() if asset.role == "domain_controller"]
    return sorted({*network.servers("kerberos"), *roles})


def _offered(service: str, otherwise: Callable[[Network], list[str]] | None = None) -> Callable[[Network], list[str]]:
    def hosts(network: Network) -> list[str]:
        return network.servers(service) or (otherwise(network) if otherwise else [])

    return hosts


def _session_hosts(network: Network) -> list[str]:
    reached = {host for service in _SESSIONS[:2] for host in network.servers(service)}
    windows_too = set(windows(network))
    return [host for host in plant_hosts(network) if host in reached | windows_too]


def _plain(deed: Deed, service: str) -> Callable[[Network, str], tuple[Deed, str]]:
    return lambda network, target: (deed, service)


def _session(network: Network, target: str) -> tuple[Deed, str]:
    if target in network.servers("ssh") and target not in network.servers("rdp"):
        return Deed("T0886", (Kind.SSH,)), "ssh"
    return Deed("T0886", (Kind.RDP,)), "rdp"


def _write(technique: str) -> Callable[[Network, str], tuple[Deed, str]]:
    kinds = {"s7comm": Kind.S7_SESSION, "modbus": Kind.MODBUS_SESSION, "dnp3": Kind.DNP3_SESSION}

    def deed(network: Network, target: str) -> tuple[Deed, str]:
        spoken = {protocol for _, resp, protocol in network.acts if resp == target}
        protocol = next(name for name in WRITABLE if name in spoken)
        return Deed(technique, (kinds[protocol],), ONLY_WRITES), protocol

    return deed


def _smb_in_plant(network: Network) -> list[str]:
    smb = set(windows(network))
    return [host for host in plant_hosts(network) if host in smb]


_DCE: Final = frozenset({"dce_rpc"})
_TECHNIQUES: Final = (
    Technique(
        "T1046", _CONNECTIONS, lambda network: sorted(network.assets), "no hosts",
        _plain(Deed("T1046", (Kind.PROBE,)), ""), moves=False,
    ),
    Technique(
        "T1021.001", _CONNECTIONS | {"rdp"}, _offered("rdp", windows), "no host offers RDP or is a Windows host",
        _plain(Deed("T1021.001", (Kind.RDP,)), "rdp"),
    ),
    Technique(
        "T1021.002", _CONNECTIONS | {"smb_mapping", "smb_files"}, _offered("smb"), "no host offers SMB",
        _plain(Deed("T1021.002", (Kind.SMB_FILE,)), "smb"),
    ),
    Technique(
        "T1021.004", _CONNECTIONS | {"ssh"}, _offered("ssh"), "no host offers SSH",
        _plain(Deed("T1021.004", (Kind.SSH,)), "ssh"),
    ),
    Technique(
        "T1021.006", _CONNECTIONS | {"http"}, _offered("winrm", windows), "no host offers WinRM or is a Windows host",
        _plain(Deed("T1021.006", (Kind.WINRM,)), "winrm"),
    ),
    Technique(
        "T1570", frozenset({"smb_files"}), _offered("smb"), "no host offers SMB",
        _plain(Deed("T1570", (Kind.SMB_COPY,)), "smb"),
    ),
    Technique(
        "T1569.002", _DCE, windows, "no Windows host", _plain(Deed("T1569.002", (Kind.SMB_COPY, Kind.SVC_EXEC)), "smb"),
    ),
    Technique("T1047", _DCE, windows, "no Windows host", _plain(Deed("T1047", (Kind.RPC_ADMIN,), _WMI), "tcp/high")),
    Technique(
        "T1053.005", _DCE, windows, "no Windows host", _plain(Deed("T1053.005", (Kind.RPC_ADMIN,), _TASK), "tcp/high"),
    ),
    Technique(
        "T1003.006", _DCE, directory, "no domain controller",
        _plain(Deed("T1003.006", (Kind.RPC_REPLICA,)), "tcp/high"), moves=False,
    ),
    Technique(
        "T1078", frozenset({"kerberos"}), directory, "no domain controller",
        _plain(Deed("T1078", (Kind.KRB_AS, Kind.KRB_TGS)), "kerberos"), moves=False,
    ),
    Technique(
        "T1110", frozenset({"kerberos"}), directory, "no domain controller",
        _plain(Deed("T1110", (Kind.KRB_AS,)), "kerberos"), moves=False,
    ),
    Technique(
        "T0886", _CONNECTIONS | {"rdp", "ssh"}, _session_hosts, "no host of the plant takes remote sessions", _session,
    ),
    Technique(
        "T0867", frozenset({"smb_files"}), _smb_in_plant, "no host of the plant offers SMB",
        _plain(Deed("T0867", (Kind.SMB_COPY,)), "smb"),
    ),
    Technique(
        "T0843", frozenset({"s7comm"}), lambda network: controllers(network, "s7comm"), "no controller speaks S7comm",
        _plain(Deed("T0843", (Kind.S7_PROGRAM,), 1), "s7comm"), moves=False, from_station=True,
    ),
    Technique(
        "T0858", frozenset({"s7comm"}), lambda network: controllers(network, "s7comm"), "no controller speaks S7comm",
        _plain(Deed("T0858", (Kind.S7_PROGRAM,), HALT), "s7comm"), moves=False, from_station=True,
    ),
    Technique(
        "T0836", frozenset({"s7comm", "modbus"}), lambda network: controllers(network, "s7comm", "modbus"),
        "no controller speaks S7comm or Modbus", _write("T0836"), moves=False, from_station=True,
    ),
    Technique(
        "T0855", frozenset(WRITABLE), lambda network: controllers(network, *WRITABLE),
        "no controller speaks S7comm, Modbus or DNP3", _write("T0855"), moves=False, from_station=True,
    ),
)  # fmt: skip
PLAYABLE: Final = {technique.id: technique for technique in _TECHNIQUES}
"""Every technique by its id, in the order they are reported."""

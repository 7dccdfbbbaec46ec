"""ATT&CK techniques the engine can name. Enterprise and ICS ids and names; ICS as of release 18.1.

Shipped as a table because plants are air-gapped; tactic names change between releases, so nothing keys on them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

VERSION: Final = "18.1"


@dataclass(frozen=True, slots=True)
class Technique:
    """An ATT&CK technique: id, name, id of the tactic it serves here, matrix."""

    id: str
    name: str
    tactic: str

    @property
    def matrix(self) -> str:
        """``enterprise`` or ``ics``."""
        return "ics" if self.id.startswith("T0") else "enterprise"


_TABLE: Final = """
T1021     TA0008 Remote Services
T1021.001 TA0008 Remote Desktop Protocol
T1021.002 TA0008 SMB/Windows Admin Shares
T1021.003 TA0008 Distributed Component Object Model
T1021.004 TA0008 SSH
T1021.005 TA0008 VNC
T1021.006 TA0008 Windows Remote Management
T1072     TA0008 Software Deployment Tools
T1570     TA0008 Lateral Tool Transfer
T1210     TA0008 Exploitation of Remote Services
T1550     TA0008 Use Alternate Authentication Material
T1563     TA0008 Remote Service Session Hijacking
T1080     TA0008 Taint Shared Content
T1569.002 TA0002 Service Execution
T1047     TA0002 Windows Management Instrumentation
T1053.002 TA0002 At
T1053.005 TA0002 Scheduled Task
T1003.006 TA0006 DCSync
T1003.002 TA0006 Security Account Manager
T1110     TA0006 Brute Force
T1558     TA0006 Steal or Forge Kerberos Tickets
T1070.001 TA0005 Clear Windows Event Logs
T1112     TA0005 Modify Registry
T1547.004 TA0003 Winlogon Helper DLL
T1547.010 TA0003 Port Monitors
T1543.003 TA0003 Windows Service
T1136     TA0003 Create Account
T1098     TA0003 Account Manipulation
T1529     TA0040 System Shutdown/Reboot
T1007     TA0007 System Service Discovery
T1016     TA0007 System Network Configuration Discovery
T1018     TA0007 Remote System Discovery
T1033     TA0007 System Owner/User Discovery
T1046     TA0007 Network Service Discovery
T1049     TA0007 System Network Connections Discovery
T1069     TA0007 Permission Groups Discovery
T1082     TA0007 System Information Discovery
T1083     TA0007 File and Directory Discovery
T1087     TA0007 Account Discovery
T1124     TA0007 System Time Discovery
T1135     TA0007 Network Share Discovery
T1133     TA0001 External Remote Services
T1078     TA0001 Valid Accounts
T1071     TA0011 Application Layer Protocol
T1090     TA0011 Proxy
T0886     TA0109 Remote Services
T0867     TA0109 Lateral Tool Transfer
T0866     TA0109 Exploitation of Remote Services
T0843     TA0109 Program Download
T0859     TA0109 Valid Accounts
T0812     TA0109 Default Credentials
T0822     TA0108 External Remote Services
T0848     TA0108 Rogue Master
T0858     TA0104 Change Operating Mode
T0821     TA0104 Modify Controller Tasking
T0871     TA0104 Execution through API
T0889     TA0110 Modify Program
T0839     TA0110 Module Firmware
T0857     TA0110 System Firmware
T0872     TA0103 Indicator Removal on Host
T0846     TA0102 Remote System Discovery
T0888     TA0102 Remote System Information Discovery
T0845     TA0100 Program Upload
T0801     TA0100 Monitor Process State
T0861     TA0100 Point & Tag Identification
T0868     TA0100 Detect Operating Mode
T0885     TA0101 Commonly Used Port
T0869     TA0101 Standard Application Layer Protocol
T0855     TA0106 Unauthorized Command Message
T0836     TA0106 Modify Parameter
T0806     TA0106 Brute Force I/O
T0816     TA0107 Device Restart/Shutdown
T0814     TA0107 Denial of Service
T0803     TA0107 Block Command Message
T0809     TA0107 Data Destruction
T0878     TA0107 Alarm Suppression
T0838     TA0107 Modify Alarm Settings
T0881     TA0107 Service Stop
T0800     TA0107 Activate Firmware Update Mode
T0892     TA0107 Change Credential
"""

TECHNIQUES: Final = {
    parts[0]: Technique(parts[0], parts[2], parts[1])
    for parts in (line.split(maxsplit=2) for line in _TABLE.strip().splitlines())
}


TACTICS: Final = {
    "TA0001": "Initial Access",
    "TA0002": "Execution",
    "TA0003": "Persistence",
    "TA0004": "Privilege Escalation",
    "TA0005": "Defense Evasion",
    "TA0006": "Credential Access",
    "TA0007": "Discovery",
    "TA0008": "Lateral Movement",
    "TA0009": "Collection",
    "TA0010": "Exfiltration",
    "TA0011": "Command and Control",
    "TA0040": "Impact",
    "TA0100": "Collection",
    "TA0101": "Command and Control",
    "TA0102": "Discovery",
    "TA0103": "Evasion",
    "TA0104": "Execution",
    "TA0105": "Impact",
    "TA0106": "Impair Process Control",
    "TA0107": "Inhibit Response Function",
    "TA0108": "Initial Access",
    "TA0109": "Lateral Movement",
    "TA0110": "Persistence",
    "TA0111": "Privilege Escalation",
}
"""Names as of Enterprise before release 19, which split TA0005, and of ICS."""


def tactics(techniques: Iterable[str]) -> tuple[str, ...]:
    """Ids of the tactics that techniques serve here, in their order, each once."""
    return tuple(dict.fromkeys(TECHNIQUES[technique].tactic for technique in techniques if technique in TECHNIQUES))


def named(technique: str) -> str:
    """``T1021.002 SMB/Windows Admin Shares``; the bare id when it is not in the table."""
    known = TECHNIQUES.get(technique)
    return f"{technique} {known.name}" if known else technique

"""How each service looks on the wire: one row a kind of conversation, drawn the same way for friend and foe.

The box plots are our own round figures, of the order seen in public Zeek logs of Windows laboratories, Modbus
sandboxes and campus networks. A poll a minute stands for the second or less of real controllers: the plant
keeps the regularity without the volume.
"""

from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final

import numpy as np

from .draw import Box, Ints


class Kind(IntEnum):
    """Kinds of conversation."""

    DNS = 0
    NTP = auto()
    KRB_AS = auto()
    KRB_TGS = auto()
    LDAP = auto()
    EPMAP = auto()
    RPC_LOGON = auto()
    RPC_ADMIN = auto()
    RPC_REPLICA = auto()
    SMB_FILE = auto()
    SMB_POLICY = auto()
    SMB_COPY = auto()
    SVC_EXEC = auto()
    RDP = auto()
    SSH = auto()
    WINRM = auto()
    PROXY = auto()
    WEB = auto()
    INTRANET = auto()
    MAIL = auto()
    SMTP = auto()
    ERP = auto()
    MES = auto()
    PRINT = auto()
    AGENT = auto()
    UPDATE = auto()
    PEER = auto()
    BACKUP = auto()
    SNMP = auto()
    PING = auto()
    SQL = auto()
    PROBE = auto()
    OPCUA = auto()
    MODBUS_POLL = auto()
    MODBUS_READ = auto()
    MODBUS_SESSION = auto()
    S7_POLL = auto()
    S7_SESSION = auto()
    S7_PROGRAM = auto()
    SMB_BULK = auto()
    SQL_BULK = auto()
    DNP3_SESSION = auto()


@dataclass(frozen=True, slots=True)
class Service:
    """How one kind of conversation looks.

    Args:
        proto: IANA name in lower case.
        port: responder's port; 0 = the service's own choice (RPC) or named by the act.
        zeek: what Zeek writes as ``service``; empty = it recognises nothing.
        millis: duration, ms.
        sent, received: payload bytes of originator and responder; of each turn when ``per_turn``.
        turns: requests within the conversation.
        faults: how many of 1,024 stay unanswered, are refused, are reset.
    """

    proto: str
    port: int
    zeek: str
    millis: Box
    sent: Box
    received: Box
    turns: Box = (1, 1, 1, 1, 1)
    per_turn: bool = False
    faults: tuple[int, int, int] = (5, 3, 16)


_QUICK: Final[Box] = (1, 3, 8, 25, 900)
_SMB_PIPE: Final = "gssapi,smb,krb,dce_rpc"
_DISK: Final = "gssapi,smb,krb"

SERVICES: Final[dict[Kind, Service]] = {
    Kind.DNS: Service(
        "udp", 53, "dns", (0, 1, 2, 7, 400), (24, 33, 38, 46, 80), (40, 70, 98, 140, 470), faults=(6, 0, 0)
    ),
    Kind.NTP: Service("udp", 123, "ntp", (0, 1, 1, 3, 60), (48,) * 5, (48,) * 5, faults=(6, 0, 0)),
    Kind.KRB_AS: Service(
        "tcp", 88, "krb_tcp", (1, 3, 5, 11, 300), (210, 260, 300, 330, 420), (190, 1400, 1560, 1680, 2100)
    ),
    Kind.KRB_TGS: Service(
        "tcp",
        88,
        "krb_tcp",
        (1, 3, 5, 11, 300),
        (1500, 1720, 1850, 2050, 2900),
        (1450, 1650, 1780, 1940, 2700),
    ),
    Kind.LDAP: Service(
        "tcp",
        389,
        "ldap_tcp",
        (4, 30, 120, 900, 120_000),
        (300, 900, 2100, 3900, 21_000),
        (400, 2200, 5100, 14_000, 400_000),
    ),
    Kind.EPMAP: Service(
        "tcp",
        135,
        "dce_rpc",
        (2, 8, 3000, 16_000, 60_000),
        (250, 300, 410, 560, 1200),
        (200, 260, 370, 520, 1000),
    ),
    Kind.RPC_LOGON: Service(
        "tcp",
        0,
        "dce_rpc",
        (5, 60, 2500, 15_000, 130_000),
        (700, 1500, 2600, 4300, 16_000),
        (600, 1300, 2300, 4600, 30_000),
        (2, 3, 4, 6, 9),
    ),
    Kind.RPC_ADMIN: Service(
        "tcp",
        0,
        "dce_rpc",
        (5, 80, 2800, 20_000, 200_000),
        (700, 1700, 3300, 6000, 30_000),
        (700, 1900, 4100, 11_000, 190_000),
        (2, 3, 4, 6, 9),
    ),
    Kind.RPC_REPLICA: Service(
        "tcp",
        0,
        "dce_rpc",
        (40, 300, 2500, 14_000, 190_000),
        (1500, 3600, 7000, 14_000, 90_000),
        (3000, 14_000, 60_000, 400_000, 45_000_000),
        (2, 3, 4, 6, 14),
    ),
    Kind.SMB_FILE: Service(
        "tcp",
        445,
        _DISK,
        (90, 2600, 12_000, 90_000, 7_000_000),
        (2400, 4600, 9000, 36_000, 60_000_000),
        (1900, 6300, 24_000, 210_000, 250_000_000),
        (1, 2, 3, 5, 12),
    ),
    Kind.SMB_POLICY: Service(
        "tcp",
        445,
        _DISK,
        (90, 1800, 10_000, 11_000, 60_000),
        (2300, 3300, 4300, 5900, 19_000),
        (1900, 2900, 4600, 12_000, 90_000),
        (1, 2, 2, 3, 5),
    ),
    Kind.SMB_COPY: Service(
        "tcp",
        445,
        _DISK,
        (200, 2200, 10_500, 31_000, 900_000),
        (4100, 52_000, 410_000, 2_600_000, 190_000_000),
        (2000, 3600, 6900, 15_000, 400_000),
        (1, 1, 2, 3, 6),
    ),
    Kind.SVC_EXEC: Service(
        "tcp",
        445,
        _SMB_PIPE,
        (300, 4000, 10_800, 36_000, 900_000),
        (6000, 70_000, 390_000, 2_100_000, 120_000_000),
        (2500, 4700, 9800, 24_000, 500_000),
        (1, 1, 1, 2, 3),
    ),
    Kind.RDP: Service(
        "tcp",
        3389,
        "rdp",
        (4000, 190_000, 900_000, 3_100_000, 21_000_000),
        (9000, 210_000, 900_000, 3_600_000, 52_000_000),
        (30_000, 1_900_000, 9_000_000, 41_000_000, 900_000_000),
        faults=(6, 5, 90),
    ),
    Kind.SSH: Service(
        "tcp",
        22,
        "ssh",
        (900, 6000, 150_000, 1_200_000, 25_000_000),
        (2300, 4000, 12_000, 61_000, 40_000_000),
        (2600, 5200, 26_000, 190_000, 90_000_000),
        faults=(5, 5, 24),
    ),
    Kind.WINRM: Service(
        "tcp",
        5985,
        "http",
        (120, 1100, 6000, 41_000, 1_300_000),
        (3000, 7000, 15_000, 48_000, 6_000_000),
        (2500, 8000, 24_000, 120_000, 30_000_000),
        (2, 2, 3, 5, 10),
    ),
    Kind.PROXY: Service(
        "tcp",
        3128,
        "http",
        (15, 180, 1500, 30_000, 900_000),
        (300, 1100, 2300, 5200, 9_000_000),
        (500, 4200, 12_000, 60_000, 200_000_000),
    ),
    Kind.WEB: Service(
        "tcp",
        443,
        "ssl",
        (15, 180, 1500, 30_000, 900_000),
        (400, 1200, 2400, 5400, 9_000_000),
        (700, 4400, 12_500, 61_000, 200_000_000),
    ),
    Kind.INTRANET: Service(
        "tcp",
        80,
        "http",
        (5, 60, 900, 9000, 300_000),
        (300, 600, 1200, 3100, 2_000_000),
        (300, 2600, 11_000, 70_000, 20_000_000),
        (1, 1, 2, 3, 6),
    ),
    Kind.MAIL: Service(
        "tcp",
        443,
        "ssl",
        (20, 300, 2400, 60_000, 3_000_000),
        (600, 2000, 4700, 13_000, 21_000_000),
        (900, 4200, 12_000, 46_000, 30_000_000),
    ),
    Kind.SMTP: Service(
        "tcp",
        25,
        "smtp",
        (90, 400, 1200, 3500, 90_000),
        (600, 4000, 16_000, 90_000, 21_000_000),
        (260, 320, 380, 450, 900),
    ),
    Kind.ERP: Service(
        "tcp",
        443,
        "ssl",
        (15, 200, 1400, 21_000, 1_900_000),
        (500, 1700, 3900, 11_000, 2_000_000),
        (700, 4800, 19_000, 80_000, 30_000_000),
    ),
    Kind.MES: Service(
        "tcp",
        80,
        "http",
        (5, 40, 200, 1600, 120_000),
        (300, 500, 900, 2100, 400_000),
        (300, 1200, 4000, 14_000, 4_000_000),
        (1, 1, 1, 2, 4),
    ),
    Kind.PRINT: Service(
        "tcp",
        9100,
        "",
        (300, 1400, 4100, 14_000, 400_000),
        (9000, 90_000, 410_000, 1_900_000, 90_000_000),
        (0, 0, 60, 200, 2000),
        faults=(14, 5, 16),
    ),
    Kind.AGENT: Service(
        "tcp",
        443,
        "ssl",
        (15, 80, 160, 400, 30_000),
        (700, 1200, 1700, 2600, 300_000),
        (900, 3100, 4300, 5200, 4_000_000),
    ),
    Kind.UPDATE: Service(
        "tcp",
        8530,
        "http",
        (30, 300, 2400, 21_000, 1_900_000),
        (400, 900, 2600, 9000, 400_000),
        (900, 9000, 60_000, 4_000_000, 900_000_000),
        (1, 1, 2, 3, 6),
    ),
    Kind.PEER: Service(
        "tcp",
        7680,
        "",
        (10, 120, 2000, 31_000, 400_000),
        (90, 200, 900, 9000, 30_000_000),
        (90, 900, 40_000, 1_900_000, 200_000_000),
        faults=(60, 40, 30),
    ),
    Kind.BACKUP: Service(
        "tcp",
        8400,
        "",
        (4000, 120_000, 600_000, 2_100_000, 14_000_000),
        (40_000, 900_000, 4_000_000, 9_000_000, 90_000_000),
        (9_000_000, 300_000_000, 2_000_000_000, 9_000_000_000, 90_000_000_000),
    ),
    Kind.SNMP: Service(
        "udp",
        161,
        "snmp",
        (0, 2, 5, 21, 2000),
        (43, 60, 82, 120, 400),
        (50, 90, 130, 240, 1300),
        faults=(8, 0, 0),
    ),
    Kind.PING: Service("icmp", 0, "", (0, 1, 1, 3, 90), (32, 32, 32, 32, 56), (32, 32, 32, 32, 56), faults=(8, 0, 0)),
    Kind.SQL: Service(
        "tcp",
        1433,
        "",
        (10, 90, 600, 9000, 900_000),
        (600, 1900, 6000, 31_000, 9_000_000),
        (500, 1600, 5200, 24_000, 30_000_000),
    ),
    Kind.PROBE: Service(
        "tcp",
        0,
        "",
        (0, 1, 3, 60, 5000),
        (0, 0, 18, 190, 900),
        (0, 0, 120, 600, 9000),
        faults=(300, 420, 120),
    ),
    Kind.OPCUA: Service(
        "tcp",
        4840,
        "",
        (40_000, 300_000, 900_000, 1_800_000, 3_600_000),
        (9000, 60_000, 190_000, 400_000, 900_000),
        (20_000, 140_000, 420_000, 900_000, 2_100_000),
    ),
    Kind.MODBUS_POLL: Service(
        "tcp",
        502,
        "modbus",
        (1, 1, 1, 1, 1),
        (12,) * 5,
        (29, 49, 69, 89, 129),
        per_turn=True,
        faults=(2, 1, 90),
    ),
    Kind.MODBUS_READ: Service(
        "tcp",
        502,
        "modbus",
        (4, 6, 9, 21, 700),
        (12,) * 5,
        (29, 49, 69, 89, 129),
        (1, 1, 1, 2, 3),
        per_turn=True,
        faults=(3, 1, 5),
    ),
    Kind.MODBUS_SESSION: Service(
        "tcp",
        502,
        "modbus",
        (900, 14_000, 90_000, 600_000, 3_600_000),
        (12, 12, 13, 15, 21),
        (12, 21, 41, 69, 129),
        (4, 9, 18, 36, 90),
        per_turn=True,
        faults=(4, 2, 40),
    ),
    Kind.S7_POLL: Service(
        "tcp",
        102,
        "cotp,s7comm",
        (1, 1, 1, 1, 1),
        (31, 31, 43, 43, 67),
        (29, 41, 69, 109, 229),
        per_turn=True,
        faults=(2, 1, 90),
    ),
    Kind.S7_SESSION: Service(
        "tcp",
        102,
        "cotp,s7comm",
        (900, 12_000, 80_000, 540_000, 3_000_000),
        (29, 33, 38, 43, 67),
        (41, 73, 119, 190, 260),
        (4, 8, 15, 30, 80),
        per_turn=True,
        faults=(4, 2, 40),
    ),
    Kind.S7_PROGRAM: Service(
        "tcp",
        102,
        "cotp,s7comm",
        (2600, 14_000, 52_000, 300_000, 1_800_000),
        (60, 110, 180, 220, 240),
        (25, 31, 38, 47, 80),
        (4, 9, 20, 44, 160),
        per_turn=True,
        faults=(4, 2, 40),
    ),
    # Whole folders and tables at once: far above what most pairs of hosts ever move.
    Kind.SMB_BULK: Service(
        "tcp",
        445,
        _DISK,
        (20_000, 90_000, 300_000, 1_200_000, 7_000_000),
        (400_000, 1_500_000, 4_000_000, 12_000_000, 60_000_000),
        (500_000_000, 1_200_000_000, 2_600_000_000, 6_000_000_000, 40_000_000_000),
        (3, 5, 8, 12, 40),
    ),
    Kind.SQL_BULK: Service(
        "tcp",
        1433,
        "",
        (9000, 60_000, 200_000, 700_000, 3_600_000),
        (20_000, 90_000, 300_000, 900_000, 9_000_000),
        (200_000_000, 500_000_000, 1_100_000_000, 2_500_000_000, 16_000_000_000),
    ),
    # Only drills: the plant that is made up speaks no DNP3.
    Kind.DNP3_SESSION: Service(
        "tcp",
        20_000,
        "dnp3_tcp",
        (900, 5000, 30_000, 200_000, 1_800_000),
        (20, 24, 30, 44, 90),
        (17, 24, 40, 90, 250),
        (4, 6, 9, 16, 40),
        per_turn=True,
        faults=(4, 2, 40),
    ),
}
"""The look of every kind."""

POLLS: Final = (Kind.MODBUS_POLL, Kind.S7_POLL)
"""Kinds whose turns follow from their length."""

MISTYPED: Final = -1
"""The ``detail`` of a ticket request with a wrong password."""

ONLY_WRITES: Final = 2
"""The ``detail`` of a session with a controller in which whatever can change something does."""

HALT: Final = -2
"""The ``detail`` of a programming session that stops the controller and loads nothing."""

PROBED_PORTS: Final = (22, 80, 135, 139, 443, 445, 3389, 5985, 8080, 161)
"""What a vulnerability scanner's discovery asks first: the usual management ports."""


def _column(name: str) -> Ints:
    return np.array([getattr(SERVICES[kind], name) for kind in Kind], dtype=np.int64)


PORT: Final = _column("port")
MILLIS: Final = _column("millis")
SENT: Final = _column("sent")
RECEIVED: Final = _column("received")
TURNS: Final = _column("turns")
PER_TURN: Final = _column("per_turn")
FAULTS: Final = _column("faults")
IS_TCP: Final = np.array([SERVICES[kind].proto == "tcp" for kind in Kind])

"""What an intruder does between two hosts: which conversations it takes, and its ATT&CK technique."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from .draw import Box, below, box, one
from .it_records import ADMIN_CALLS
from .rhythm import MINUTE, SECOND
from .services import PROBED_PORTS, Kind

_WAIT: Final[Box] = (4, 15, 40, 90, 400)  # seconds from one conversation to the next
_AGAIN: Final[Box] = (0, 0, 1, 1, 3)  # how often what carried the hop is repeated
_SWELL: Final[Box] = (14, 18, 22, 28, 40)  # conversations of a hop that betrays itself by their number
_SWELL_SPAN: Final = 50 * MINUTE
_BULK: Final = {Kind.SMB_FILE: Kind.SMB_BULK, Kind.SQL: Kind.SQL_BULK}

PACES: Final = ("minutes", "hours")
"""Several conversations a hop and minutes between hops, or a single one and hours to days."""


@dataclass(frozen=True, slots=True)
class Step:
    """One connection of a hop, ``after`` µs after the hop begins."""

    kind: Kind
    user: int
    detail: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing done to a host.

    Args:
        technique: ATT&CK id.
        kinds: conversations in their order; the last alone would carry the hop.
        detail: of the last, as in `acts.ActTable`; -1 = any.
        ot_technique: ATT&CK id when the responder is on level 3 or below; empty = the same.
    """

    technique: str
    kinds: tuple[Kind, ...]
    detail: int = -1
    ot_technique: str = ""


_WMI: Final = ADMIN_CALLS.index(("IWbemServices", "ExecMethod"))
_TASK: Final = ADMIN_CALLS.index(("ITaskSchedulerService", "SchRpcRegisterTask"))

DEEDS: Final = {
    # Remote execution, most of it after an executable has arrived.
    "exec": Deed("T1569.002", (Kind.SMB_COPY, Kind.SVC_EXEC)),
    "push": Deed("T1569.002", (Kind.SVC_EXEC,)),
    "wmi": Deed("T1047", (Kind.SMB_COPY, Kind.RPC_ADMIN), _WMI),
    "task": Deed("T1053.005", (Kind.SMB_COPY, Kind.RPC_ADMIN), _TASK),
    "copy": Deed("T1570", (Kind.SMB_COPY,), ot_technique="T0867"),
    "winrm": Deed("T1021.006", (Kind.WINRM,)),
    "rdp": Deed("T1021.001", (Kind.RDP,), ot_technique="T0886"),
    "remote access": Deed("T1133", (Kind.RDP,)),
    "ssh": Deed("T1021.004", (Kind.SSH,), ot_technique="T0886"),
    "replicate": Deed("T1003.006", (Kind.RPC_REPLICA,)),
    "probe": Deed("T1046", (Kind.PROBE,), ot_technique="T0846"),
    # What others do there every day.
    "files": Deed("T1021.002", (Kind.SMB_FILE,)),
    "directory": Deed("T1087", (Kind.LDAP,)),
    "ticket": Deed("T1550", (Kind.KRB_TGS,)),
    "mail": Deed("T1078", (Kind.MAIL,)),
    "web": Deed("T1078", (Kind.INTRANET,)),
    "erp": Deed("T1078", (Kind.ERP,)),
    "orders": Deed("T1078", (Kind.MES,)),
    "updates": Deed("T1078", (Kind.UPDATE,)),
    "agent": Deed("T1078", (Kind.AGENT,)),
    "sql": Deed("T1078", (Kind.SQL,)),
    # On controllers, by what they speak.
    "look s7": Deed("T0845", (Kind.S7_SESSION,), 0),
    "write s7": Deed("T0836", (Kind.S7_SESSION, Kind.S7_SESSION), 1),
    "program s7": Deed("T0843", (Kind.S7_SESSION, Kind.S7_PROGRAM), 1),
    "stop s7": Deed("T0858", (Kind.S7_PROGRAM,), 1),
    "look modbus": Deed("T0861", (Kind.MODBUS_SESSION,), 0),
    "write modbus": Deed("T0836", (Kind.MODBUS_SESSION, Kind.MODBUS_SESSION), 1),
    "program modbus": Deed("T0855", (Kind.MODBUS_SESSION, Kind.MODBUS_SESSION), 1),
    "stop modbus": Deed("T0855", (Kind.MODBUS_SESSION,), 1),
}
"""Every deed by its name."""

VISIBLE: Final = frozenset({"rdp", "remote access", "ticket", "winrm", "exec", "push", "copy", "wmi", "files"})
"""Deeds whose account Zeek sees, always or now and then."""


def conversations(deed: Deed, user: int, resp: int, pace: str, *, much: bool, rng: np.random.Generator) -> list[Step]:
    """The connections of one hop; ``much`` = far above what is usual between its hosts."""
    carrier = deed.kinds[-1]
    if pace == "hours":
        return [_step(_BULK.get(carrier, carrier) if much else carrier, deed, user, resp, 0, rng)]
    if much:
        after = np.sort(below(rng, _SWELL_SPAN, one(rng, _SWELL)))
        return [_step(carrier, deed, user, resp, int(at - after[0]), rng) for at in after]
    kinds = deed.kinds + (carrier,) * max(one(rng, _AGAIN), 2 - len(deed.kinds))
    waits = box(rng, _WAIT, len(kinds)) * SECOND + below(rng, SECOND, len(kinds))
    after = np.cumsum(waits) - waits[0]
    return [_step(kind, deed, user, resp, int(at), rng) for kind, at in zip(kinds, after, strict=True)]


def _step(kind: Kind, deed: Deed, user: int, resp: int, after: int, rng: np.random.Generator) -> Step:
    luck = int(below(rng, 1 << 30, 1)[0])
    if kind is Kind.PROBE:
        detail = PROBED_PORTS[luck % len(PROBED_PORTS)]
    elif kind is Kind.KRB_TGS:
        detail = resp * 64 + Kind.LDAP
    elif kind is deed.kinds[-1] and deed.detail >= 0:
        detail = deed.detail
    else:
        detail = 0 if kind in (Kind.S7_SESSION, Kind.MODBUS_SESSION) else luck
    return Step(kind, user, detail, after)

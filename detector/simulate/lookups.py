"""What a connection causes: name lookups and Kerberos tickets before it, the proxy's own fetch after it."""

from typing import Final

import numpy as np

from .acts import Acts, ActTable
from .draw import Box, below, box, chance
from .plant import Plant
from .services import Kind

# Of 1,000 connections, how many are preceded by a lookup and by a ticket request; caches answer the rest. A
# DNS record lives for an hour or so, a ticket for ten hours, hence fewer tickets.
_LOOKED_UP: Final = {
    Kind.SMB_FILE: (300, 80),
    Kind.SMB_BULK: (600, 200),
    Kind.SMB_POLICY: (500, 200),
    Kind.SMB_COPY: (600, 400),
    Kind.SVC_EXEC: (600, 400),
    Kind.RDP: (800, 600),
    Kind.SSH: (500, 0),
    Kind.WINRM: (600, 500),
    Kind.INTRANET: (300, 0),
    Kind.MAIL: (250, 40),
    Kind.ERP: (250, 60),
    Kind.MES: (200, 0),
    Kind.WEB: (700, 0),
    Kind.UPDATE: (500, 0),
    Kind.LDAP: (200, 150),
    Kind.PRINT: (300, 0),
    Kind.SQL: (200, 50),
    Kind.SQL_BULK: (200, 50),
    Kind.RPC_LOGON: (100, 60),
    Kind.RPC_ADMIN: (400, 300),
    Kind.RPC_REPLICA: (200, 150),
    Kind.PROXY: (150, 0),
    Kind.AGENT: (60, 0),
    Kind.BACKUP: (500, 0),
}
_DNS_SHARE: Final = np.array([_LOOKED_UP.get(kind, (0, 0))[0] for kind in Kind], dtype=np.int64)
_TICKET_SHARE: Final = np.array([_LOOKED_UP.get(kind, (0, 0))[1] for kind in Kind], dtype=np.int64)
# How long before, ms.
_ASKED: Final[Box] = (1, 4, 11, 40, 900)
_GRANTED: Final[Box] = (1, 3, 8, 19, 400)
_MAPPED: Final[Box] = (2, 5, 12, 40, 600)
# The proxy's cache misses, of 100, and how much later it fetches, ms.
_MISSED: Final = 60
_FETCHED: Final[Box] = (2, 3, 5, 8, 11)
_RPC: Final = (Kind.RPC_LOGON, Kind.RPC_ADMIN, Kind.RPC_REPLICA)


def with_lookups(table: ActTable, plant: Plant, rng: np.random.Generator) -> ActTable:
    """The table, and what its rows cause at domain controllers, endpoint mappers and web sites.

    A domain controller asks itself, which no sensor sees. RPC on a changing port starts at the mapper.
    """
    table = _fetched(table, plant, rng)
    acts = Acts.of(table)
    for share, kind, lead in ((_DNS_SHARE, Kind.DNS, _ASKED), (_TICKET_SHARE, Kind.KRB_TGS, _GRANTED)):
        asks = below(rng, 1000, len(table)) < share[table.kind]
        rows = table.take(asks & (table.orig != plant.home_dc[table.orig]))
        ahead = box(rng, lead, len(rows)) * 1000
        about = rows.resp * 64 + rows.kind
        acts.add(kind, rows.ts - ahead, rows.orig, plant.home_dc[rows.orig], rows.user, about)
    calls = table.take(np.isin(table.kind, _RPC))
    ahead = box(rng, _MAPPED, len(calls)) * 1000
    acts.add(Kind.EPMAP, calls.ts - ahead, calls.orig, calls.resp, calls.user, hop=calls.hop, fate=calls.fate)
    return acts.table()


def _fetched(table: ActTable, plant: Plant, rng: np.random.Generator) -> ActTable:
    """With what the proxy does not have in its cache and fetches, a few ms later."""
    acts = Acts.of(table)
    missed = table.take((table.kind == Kind.PROXY) & chance(rng, _MISSED, len(table)))
    later = missed.ts + box(rng, _FETCHED, len(missed)) * 1000
    acts.add(Kind.WEB, later, missed.resp, missed.detail, plant.machine[missed.resp], missed.detail)
    return acts.table()

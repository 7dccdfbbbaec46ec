"""A day's connections and protocol records as Zeek's JSON logs: one folder a day, one file a log."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

import numpy as np

from .dated_log import DatedLog
from .draw import Ints, below
from .it_records import ItRecords
from .ot_records import OtRecords
from .plant import Plant
from .protocol_records import Lines, Logs
from .services import SERVICES, Kind
from .wire import OTH, S0, SF, STATES, Conns, ip_bytes

PROTOCOL_LOGS: Final = (
    "dce_rpc",
    "smb_files",
    "smb_mapping",
    "ntlm",
    "kerberos",
    "rdp",
    "ssh",
    "http",
    "dns",
    "modbus",
    "s7comm",
    "dnp3",
)
CONN: Final = "conn"
LOGS: Final = (CONN, *PROTOCOL_LOGS)
"""The logs that can be written."""

# How Zeek sums up the packets of each state of `wire.STATES`; a full conversation has two common endings.
_TCP_HISTORY: Final = ("ShADadFf", "S", "Sr", "ShADadR", "ShADadr", "ShADad", "", "ShADdaFf")
_UDP_HISTORY: Final = ("Dd", "D", "D", "Dd", "Dd", "Dd", "", "Dd")


class ZeekWriter:
    """Writes ``<root>/<date>/<log>.log``.

    Args:
        root: folder.
        plant: whose hosts, accounts and domain the records name.
        logs: which of `LOGS` the sensor keeps.
    """

    def __init__(self, root: Path, plant: Plant, logs: Collection[str] = LOGS) -> None:
        self._plant = plant
        self._logs = {log: DatedLog(self._path(root, log)) for log in LOGS if log in logs}

    @staticmethod
    def _path(root: Path, log: str) -> Callable[[str], Path]:
        return lambda date: root / date / f"{log}.log"

    @property
    def written(self) -> dict[str, int]:
        """Lines written so far, by log."""
        return {log: file.written for log, file in self._logs.items()}

    def add(self, conns: Conns, addresses: list[str], rng: np.random.Generator) -> None:
        """Takes connections and works out their protocol records."""
        heads = _heads(conns, addresses)
        outside_from = len(self._plant.hosts) - self._plant.sites
        if CONN in self._logs:
            self._logs[CONN].add(conns.end, _conn_lines(conns, heads, outside_from, rng))
        logs: Logs = {log: Lines() for log in PROTOCOL_LOGS}
        ItRecords(self._plant, addresses, logs).write(conns, rng)
        OtRecords(self._plant, addresses, logs).write(conns, rng)
        for log, lines in logs.items():
            if log in self._logs:
                self._logs[log].add(np.array(lines.ts, dtype=np.int64), _protocol_lines(lines, heads))

    def write_until(self, moment: int) -> None:
        """Writes all lines due before ``moment`` (µs)."""
        for log in self._logs.values():
            log.write_until(moment)


def _heads(conns: Conns, addresses: list[str]) -> list[str]:
    """What every line about a connection starts with, behind the time."""
    return [
        f'"uid":"{uid.decode()}","id.orig_h":"{addresses[orig]}","id.orig_p":{orig_p},'
        f'"id.resp_h":"{addresses[resp]}","id.resp_p":{resp_p}'
        for uid, orig, orig_p, resp, resp_p in zip(
            conns.uid.tolist(),
            conns.orig.tolist(),
            conns.orig_p.tolist(),
            conns.resp.tolist(),
            conns.resp_p.tolist(),
            strict=True,
        )
    ]


def _stamp(ts: int) -> str:
    return f"{ts // 1_000_000}.{ts % 1_000_000:06d}"


def _protocol_lines(lines: Lines, heads: list[str]) -> list[str]:
    return [
        f'{{"ts":{_stamp(ts)},{heads[row]},{tail}}}\n'
        for row, ts, tail in zip(lines.rows, lines.ts, lines.tails, strict=True)
    ]


def _middles() -> list[str]:
    """``proto`` and ``service`` of an answered connection, by kind; and of an unanswered one, behind them."""
    known = [SERVICES[kind] for kind in Kind]
    named = [f'"proto":"{s.proto}","service":"{s.zeek}"' if s.zeek else f'"proto":"{s.proto}"' for s in known]
    return named + [f'"proto":"{s.proto}"' for s in known]


def _locality(conns: Conns, sites_from: int) -> Ints:
    """0 = inside to inside, 1 = to outside, 2 = from outside."""
    return np.where(conns.orig >= sites_from, 2, np.where(conns.resp >= sites_from, 1, 0))


_LOCALITY: Final = (
    '"local_orig":true,"local_resp":true',
    '"local_orig":true,"local_resp":false',
    '"local_orig":false,"local_resp":true',
)


def _ends(conns: Conns, sites_from: int, rng: np.random.Generator) -> list[str]:
    """The part of a conn line that only takes a few values: state, locality, history."""
    kinds = [SERVICES[kind].proto == "tcp" for kind in Kind]
    other = (conns.state == SF) & (below(rng, 3, len(conns)) == 0)
    history = np.where(other, len(STATES), conns.state)
    texts: dict[tuple[int, int, int, int], str] = {}
    ends = []
    keys = zip(
        conns.kind.tolist(),
        conns.state.tolist(),
        history.tolist(),
        _locality(conns, sites_from).tolist(),
        strict=True,
    )
    for key in keys:
        if key not in texts:
            kind, state, shape, where = key
            seen = (_TCP_HISTORY if kinds[kind] else _UDP_HISTORY)[shape]
            tail = f',"history":"{seen}"' if seen else ""
            texts[key] = f'"conn_state":"{STATES[state]}",{_LOCALITY[where]},"missed_bytes":0{tail}'
        ends.append(texts[key])
    return ends


def _conn_lines(conns: Conns, heads: list[str], sites_from: int, rng: np.random.Generator) -> list[str]:
    """Lines of ``conn.log``. A lone packet has no duration and no byte counts, as in Zeek."""
    middles = _middles()
    silent = (conns.state == S0) | (
        (conns.resp_pkts == 1) & (conns.orig_pkts == 1) & (conns.resp_bytes == 0) & (conns.state != OTH)
    )
    middle = conns.kind + len(Kind) * silent
    orig_ip, resp_ip = ip_bytes(conns)
    columns = (
        conns.ts,
        middle,
        conns.duration,
        conns.orig_bytes,
        conns.resp_bytes,
        conns.orig_pkts,
        orig_ip,
        conns.resp_pkts,
        resp_ip,
    )
    lines = []
    for head, end, (ts, about, length, sent, received, pkts, ip, back, back_ip) in zip(
        heads,
        _ends(conns, sites_from, rng),
        zip(*(column.tolist() for column in columns), strict=True),
        strict=True,
    ):
        sizes = f'"duration":{_stamp(length)},"orig_bytes":{sent},"resp_bytes":{received},' if length or back else ""
        lines.append(
            f'{{"ts":{_stamp(ts)},{head},{middles[about]},{sizes}{end},'
            f'"orig_pkts":{pkts},"orig_ip_bytes":{ip},"resp_pkts":{back},"resp_ip_bytes":{back_ip}}}\n'
        )
    return lines

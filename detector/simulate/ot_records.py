"""What Zeek and ICSNPP write about controllers: ``modbus.log`` and ``s7comm.log``, request and reply.

Modbus fields as in Zeek 7 (``tid``, ``unit``, ``func``, ``pdu_type``), S7comm fields and names as in ICSNPP's
s7comm parser: codes as hexadecimal text, both directions logged, source and destination swapped for replies.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from .draw import Ints, Mask, below
from .plant import Plant
from .protocol_records import Logs, Talk, talks
from .rhythm import HOUR, MINUTE, SECOND
from .services import HALT, ONLY_WRITES, Kind
from .wire import Conns

_READS: Final = ("READ_HOLDING_REGISTERS", "READ_INPUT_REGISTERS", "READ_COILS", "READ_DISCRETE_INPUTS")
_WRITES: Final = (
    "WRITE_MULTIPLE_REGISTERS",
    "WRITE_SINGLE_REGISTER",
    "WRITE_SINGLE_COIL",
    "WRITE_MULTIPLE_COILS",
)
_DNP3_COMMANDS: Final = ("READ", "SELECT", "OPERATE", "DIRECT_OPERATE")
_DNP3_READS: Final = ("READ",)
_PANEL_WRITE: Final = 10 * HOUR  # so often a panel writes: a set point changed by the operator
_SESSION_WRITE: Final = 30  # of 100 requests of a session that is there to change something


@dataclass(frozen=True, slots=True)
class S7Call:
    """One S7comm exchange. ``back`` = the controller asks and the client answers, as in downloads."""

    code: int
    name: str
    subcode: str = ""
    subname: str = ""
    back: bool = False

    @property
    def userdata(self) -> bool:
        """Whether it is a programmer's request of the user data group."""
        return self.code == _SZL.code


_JOB: Final = '"rosctr_code":1,"rosctr_name":"Job-Request"'
_ACK: Final = '"rosctr_code":3,"rosctr_name":"ACK-Data"'
_USERDATA: Final = '"rosctr_code":7,"rosctr_name":"User-Data"'
_RESPONSE: Final = 0x40  # added to the code of a user data request

_SETUP: Final = S7Call(0xF0, "Setup Communication")
_READ: Final = S7Call(0x04, "Read Variable")
_WRITE: Final = S7Call(0x05, "Write Variable")
_SZL: Final = S7Call(0x44, "CPU Functions", "0x01", "Read SZL")
_UPLOAD: Final = (S7Call(0x1D, "Start Upload"), S7Call(0x1E, "Upload"), S7Call(0x1F, "End Upload"))
_REQUEST: Final = S7Call(0x1A, "Request Download")
_BLOCK: Final = S7Call(0x1B, "Download Block", back=True)
_ENDED: Final = S7Call(0x1C, "Download Ended", back=True)
_STOP: Final = S7Call(0x29, "PLC Stop")
_INSERT: Final = S7Call(0x28, "PLC Control", "_INSE", "Activates a PLC module")
_START: Final = S7Call(0x28, "PLC Control", "P_PROGRAM", "PLC Start / Stop")


class OtRecords:
    """Writes the controller protocol records of a day's connections into ``logs``."""

    def __init__(self, plant: Plant, addresses: list[str], logs: Logs) -> None:
        self._plant, self._addresses, self._logs = plant, addresses, logs

    def write(self, conns: Conns, rng: np.random.Generator) -> None:
        """Adds the records of all answered connections."""
        modbus = (Kind.MODBUS_POLL, Kind.MODBUS_READ, Kind.MODBUS_SESSION)
        for kind in modbus:
            self._modbus(conns, np.flatnonzero((conns.kind == kind) & conns.answered), kind, rng)
        for kind in (Kind.S7_POLL, Kind.S7_SESSION, Kind.S7_PROGRAM):
            rows = np.flatnonzero((conns.kind == kind) & conns.answered)
            for talk in talks(conns, rows, self._plant, rng):
                self._s7(talk, _s7_script(talk))
        rows = np.flatnonzero((conns.kind == Kind.DNP3_SESSION) & conns.answered)
        for talk in talks(conns, rows, self._plant, rng):
            self._dnp3(talk)

    def _dnp3(self, talk: Talk) -> None:
        """A master that commands (``detail`` `ONLY_WRITES`) or only asks."""
        fc = _DNP3_COMMANDS if talk.detail == ONLY_WRITES else _DNP3_READS
        for number in range(talk.turns):
            ask = talk.moment(number, talk.turns)
            tail = f'"fc_request":"{fc[number % len(fc)]}","fc_reply":"RESPONSE","iin":0'
            self._logs["dnp3"].add_tail(talk.row, min(ask + 2000, talk.ts + talk.duration), tail)

    def _modbus(self, conns: Conns, rows: Ints, kind: Kind, rng: np.random.Generator) -> None:
        """All requests of these connections and their replies, as columns."""
        part = conns.take(rows)
        turn = _turn_numbers(part.turns)
        of = np.repeat(np.arange(len(rows)), part.turns)
        asked = _request_times(part, kind, of, turn, rng)
        writes = _writes(part, kind, of, rng)
        name = np.where(writes, len(_READS) + below(rng, len(_WRITES), len(of)), (turn + part.detail[of]) % 3)
        answer = np.minimum(asked + 2000 + below(rng, 21_000, len(of)), part.end[of])
        unit = 1 + part.resp[of] % 8
        names = _READS + _WRITES
        lines = self._logs["modbus"]
        for row, ask, reply, number, func, station in zip(
            rows[of].tolist(),
            asked.tolist(),
            answer.tolist(),
            (turn + 1).tolist(),
            name.tolist(),
            unit.tolist(),
            strict=True,
        ):
            shared = f'"tid":{number % 65536},"unit":{station},"func":"{names[func]}","pdu_type":'
            lines.add_tail(row, ask, shared + '"REQ"')
            lines.add_tail(row, reply, shared + '"RESP"')

    def _s7(self, talk: Talk, script: list[S7Call]) -> None:
        for number, call in enumerate(script):
            if talk.kind == Kind.S7_POLL:
                tick = talk.ts + talk.duration * number // talk.turns
                ask = min(tick + 1000 + talk.dice[number % 8] % 90_000, talk.ts + talk.duration)
            else:
                ask = talk.moment(number, len(script))
            reply = min(ask + 1500 + talk.dice[(number + 3) % 8] % 19_000, talk.ts + talk.duration)
            self._s7_pair(talk, number, call, ask, reply)

    def _s7_pair(self, talk: Talk, number: int, call: S7Call, ask: int, reply: int) -> None:
        sub = f',"subfunction_code":"{call.subcode}","subfunction_name":"{call.subname}"' if call.subcode else ""
        asked, answered = _JOB, _ACK
        asked_name = answered_name = call.name
        if call.userdata:
            asked = answered = _USERDATA
            asked_name, answered_name = f"Request: {call.name}", f"Response: {call.name}"
        code = call.code + (_RESPONSE if call.userdata else 0)
        lines = self._logs["s7comm"]
        pdu = f'"pdu_reference":{number}'
        tail = f'{pdu},"function_code":"0x{call.code:02x}","function_name":"{asked_name}"{sub}'
        lines.add_tail(talk.row, ask, f"{self._way(talk, not call.back)},{asked},{tail}")
        tail = f'{pdu},"function_code":"0x{code:02x}","function_name":"{answered_name}"'
        good = f'{sub if call.userdata else ""},"error_class":"No error","error_code":"0x00"'
        lines.add_tail(talk.row, reply, f"{self._way(talk, call.back)},{answered},{tail}{good}")

    def _way(self, talk: Talk, forth: bool) -> str:
        """The direction fields, which ICSNPP repeats in each line."""
        client = f'"{self._addresses[talk.orig]}"', talk.orig_p
        controller = f'"{self._addresses[talk.resp]}"', talk.resp_p
        (source_h, source_p), (dest_h, dest_p) = (client, controller) if forth else (controller, client)
        return (
            f'"is_orig":{"true" if forth else "false"},"source_h":{source_h},"source_p":{source_p},'
            f'"destination_h":{dest_h},"destination_p":{dest_p}'
        )


def _turn_numbers(turns: Ints) -> Ints:
    """0, 1, ... for each conversation, one after the other."""
    ends = np.cumsum(turns)
    numbers: Ints = np.arange(int(ends[-1]) if len(ends) else 0, dtype=np.int64) - np.repeat(ends - turns, turns)
    return numbers


def _request_times(part: Conns, kind: Kind, of: Ints, turn: Ints, rng: np.random.Generator) -> Ints:
    if kind == Kind.MODBUS_POLL:
        asked = part.ts[of] + part.duration[of] * turn // part.turns[of] + 500 + below(rng, 90_000, len(of))
    else:
        asked = part.ts[of] + part.duration[of] * turn // (part.turns[of] + 1)
    bounded: Ints = np.minimum(asked, part.end[of])
    return bounded


def _writes(part: Conns, kind: Kind, of: Ints, rng: np.random.Generator) -> Mask:
    writes: Mask = np.zeros(len(of), dtype=np.bool_)
    if kind == Kind.MODBUS_POLL:
        pause = part.duration[of] // part.turns[of] // SECOND
        writes = below(rng, _PANEL_WRITE // SECOND, len(of)) < pause
    if kind == Kind.MODBUS_SESSION:
        writes = (part.detail[of] == 1) & (below(rng, 100, len(of)) < _SESSION_WRITE)
        writes |= part.detail[of] == ONLY_WRITES
    return writes


def _s7_script(talk: Talk) -> list[S7Call]:
    """What is said in one S7 conversation."""
    if talk.kind == Kind.S7_POLL:
        since = talk.detail * MINUTE % _PANEL_WRITE  # the last write of the link before
        due = [(talk.duration * i // talk.turns + since) // _PANEL_WRITE for i in range(talk.turns)]
        return [_SETUP, *(_WRITE if now > before else _READ for before, now in pairwise(due))]
    if talk.kind == Kind.S7_SESSION and talk.detail == ONLY_WRITES:
        return [_SETUP, _SZL, *[_WRITE] * max(1, talk.turns - 2)]
    if talk.kind == Kind.S7_SESSION:
        upload = _UPLOAD if talk.dice[0] % 8 == 0 else ()
        changes = (_WRITE,) if talk.detail == 1 else ()
        return [_SETUP, _SZL, _SZL, *[_READ] * max(1, talk.turns - 3), *changes, *upload]
    if talk.detail == HALT:
        return [_SETUP, _SZL, _STOP]
    blocks = [_BLOCK] * max(1, talk.turns - 7)
    return [_SETUP, _SZL, _STOP, _REQUEST, *blocks, _ENDED, _INSERT, _START]

"""Plant protocols: Zeek's own Modbus and DNP3 logs, and those of CISA's ICSNPP parsers.

ICSNPP logs both directions; ``source_h`` and ``destination_h`` are swapped in replies. Who asked counts, so a request
is told from its sender to its receiver, whoever opened the connection, and a reply is filtered.
"""

import re
from functools import lru_cache
from typing import Final

from detector.assets.industrial import NAMES
from detector.formats.batch import Row
from detector.formats.zeek_acts import (
    UNKNOWN,
    Act,
    code,
    flag,
    identifier,
    joined,
    log_type,
    one_of,
    reply,
    text,
    user,
    word,
)

_VOCABULARY: Final = {protocol: frozenset(names.values()) for protocol, names in NAMES.items()}

# --- Modbus ---

_MODBUS_BY_NUMBER: Final = {f"unknown-{number}": name for number, name in NAMES["modbus"].items()}
_SUBFUNCTIONS: Final = {"RESTART COMMUNICATIONS OPTION": "restart", "FORCE LISTEN ONLY MODE": "listen_only"}


@lru_cache(maxsize=4096)
def _modbus_name(name: str) -> str:
    name = name.removesuffix("_EXCEPTION")
    return _MODBUS_BY_NUMBER.get(name) or identifier(name)


def _modbus(row: Row) -> str:
    return _modbus_name(word(row, "func"))


def _modbus_detailed(row: Row) -> str:
    name = _modbus(row)
    kind = _SUBFUNCTIONS.get(word(row, "request_subfunction_code").upper()) if name == "DIAGNOSTICS" else None
    return f"{name}:{kind}" if kind else name


def _modbus_reply(row: Row) -> str | None:
    """Since Zeek 6.1 request and reply are a row each; before, one row stands for both."""
    return "reply" if word(row, "pdu_type", "request_response").startswith("RES") else reply(row)


def _modbus_outcome(row: Row) -> str | None:
    failed = word(row, "exception", "exception_code") or word(row, "func").endswith("_EXCEPTION")
    if failed:
        return "failed"
    return None if "pdu_type" in row else "ok"


# --- DNP3 ---


def _dnp3(row: Row) -> str:
    return one_of(word(row, "fc_request", "function_code"), _VOCABULARY["dnp3"])


def _dnp3_reply(row: Row) -> str | None:
    """A row without a request is an answer, or a report the outstation sends by itself."""
    return None if word(row, "fc_request") else "reply"


# --- S7comm ---

_S7_USERDATA: Final = re.compile(r"0x([4])([0-9a-f])", re.ASCII | re.IGNORECASE)


@lru_cache(maxsize=4096)
def _s7_token(function: str, subfunction: str, subname: str) -> str:
    names = NAMES["s7comm"]
    if _S7_USERDATA.fullmatch(function):
        group, sub = function[2:].lower(), code(subfunction)
        known = names.get(f"{group}.{sub:02x}") if sub is not None else None
        return known or names.get(f"{group}.", UNKNOWN)
    number = code(function)
    name = names.get(number, UNKNOWN) if number is not None else UNKNOWN
    if name != "PLC Control":
        return name
    return f"{name}:{_PLC_CONTROLS.get(subname, 'other')}"


_PLC_CONTROLS: Final = {
    "P_PROGRAM": "P_PROGRAM",  # start or stop
    "_INSE": "_INSE",  # activate a block that was downloaded
    "_DELE": "_DELE",  # delete a block
    "_GARB": "_GARB",  # compress the memory
    "_MODU": "_MODU",  # copy RAM to ROM
}


def _s7(row: Row) -> str:
    subfunction = word(row, "subfunction_code")
    return _s7_token(word(row, "function_code"), subfunction, subfunction)


def _s7_reply(row: Row) -> str | None:
    return "reply" if word(row, "rosctr_name", "rosctr").startswith("ACK") else reply(row)


LOG_TYPES: Final = (
    log_type(
        "modbus",
        Act(
            protocol="modbus",
            operation=_modbus,
            object=text("unit"),
            outcome=_modbus_outcome,
            skip=_modbus_reply,
        ),
    ),
    log_type(
        "modbus_detailed",
        Act(
            protocol="modbus",
            operation=_modbus_detailed,
            object=joined(" ", "unit", "address", "request_values"),
            outcome=_modbus_outcome,
            skip=_modbus_reply,
            by_sender=True,
        ),
    ),
    log_type("dnp3", Act(protocol="dnp3", operation=_dnp3, skip=_dnp3_reply)),
    log_type("s7comm", Act(protocol="s7comm", operation=_s7, skip=_s7_reply, by_sender=True)),
)

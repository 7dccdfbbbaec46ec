"""Plant protocols: Zeek's own Modbus and DNP3 logs, and those of CISA's ICSNPP parsers.

ICSNPP logs both directions; ``source_h`` and ``destination_h`` are swapped in replies. Who asked counts, so a
request is told from its sender to its receiver, whoever opened the connection, and a reply is filtered.
"""

import re
from dataclasses import replace
from functools import lru_cache
from typing import Final

from detector.assets.industrial import NAMES
from detector.formats.batch import Row
from detector.formats.zeek_acts import (
    UNKNOWN,
    Act,
    code,
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


_S7_TRANSFERS: Final = _VOCABULARY["s7comm"]


def _s7_transfer(row: Row) -> str:
    return one_of(word(row, "function_name"), _S7_TRANSFERS)


def _read_szl(row: Row) -> str:
    return NAMES["s7comm"]["44."]


def _szl_reply(row: Row) -> str | None:
    return "reply" if word(row, "method") == "Response" else reply(row)


def _s7_plus(row: Row) -> str:
    return one_of(word(row, "function_name"), _VOCABULARY["s7comm_plus"])


def _s7_plus_reply(row: Row) -> str | None:
    """Notifications are what the controller reports by itself."""
    return "reply" if word(row, "opcode_name") in {"Response", "Notification"} else reply(row)


# --- CIP and EtherNet/IP ---

_UNIVERSAL_BELOW: Final = 0x32  # CIP common services; from here on the class decides what a code means
_SERVICE_MAX: Final = 0x7F
_CLASSES: Final = {
    0x01: "Identity",
    0x02: "Message Router",
    0x04: "Assembly",
    0x06: "Connection Manager",
    0x37: "File",
    0x67: "PCCC",
    0x68: "Program",
    0x69: "Program Name",
    0x6A: "Map",
    0x6B: "Symbol",
    0x6C: "Template",
    0x72: "Value",
    0x8D: "Program Control",
    0x8E: "Control",
    0xA1: "Memory",
    0xAC: "Firmware",
}


@lru_cache(maxsize=8192)
def _cip_token(service: str, class_id: str) -> str:
    """The service, and in front of it the class where the code means nothing without."""
    number = code(service)
    if number is None or number > _SERVICE_MAX:
        return UNKNOWN
    name = NAMES["cip"].get(number, f"0x{number:02x}")
    if number < _UNIVERSAL_BELOW:
        return name
    return f"{_CLASSES.get(code(class_id) or 0, 'other')}:{name}"


def _cip(row: Row) -> str:
    return _cip_token(word(row, "cip_service_code"), word(row, "class_id"))


def _cip_reply(row: Row) -> str | None:
    return "reply" if word(row, "direction").lower() == "response" else reply(row)


def _enip(row: Row) -> str:
    number = code(word(row, "enip_command_code"))
    return NAMES["enip"].get(number, UNKNOWN) if number is not None else UNKNOWN


# --- BACnet ---


@lru_cache(maxsize=4096)
def _bacnet_name(service: str) -> str:
    """``read-property-request`` of bacnet_property.log is ``read_property`` of bacnet.log."""
    name = service.lower().replace("-", "_").removesuffix("_request")
    return one_of(name, _VOCABULARY["bacnet"])


def _bacnet(row: Row) -> str:
    return _bacnet_name(word(row, "pdu_service"))


def _bacnet_reply(row: Row) -> str | None:
    """Both ends use UDP port 47808, so a request may well come from the responder of the connection."""
    kind = word(row, "pdu_type")
    return None if kind.endswith("REQUEST") or kind in {"NPDU", ""} else "reply"


def _bacnet_detail_reply(row: Row) -> str | None:
    service = word(row, "pdu_service")
    if service.endswith(("-ack", "_ack")) or service.startswith("ERROR"):
        return "reply"
    return None if service.endswith("-request") else reply(row)


def _bacnet_finds(row: Row) -> str | None:
    """Who-Is and I-Am are broadcast by either end and answer no particular one."""
    return None


# --- OPC UA ---

_OPCUA_MESSAGES: Final = {"HEL": "Hello", "OPN": "OpenSecureChannel", "CLO": "CloseSecureChannel"}


@lru_cache(maxsize=4096)
def _opcua_name(identifier_text: str, message: str) -> str:
    if identifier_text:
        return one_of(identifier_text.removesuffix("Request"), _VOCABULARY["opcua"])
    return _OPCUA_MESSAGES.get(message, UNKNOWN)


def _opcua(row: Row) -> str:
    return _opcua_name(word(row, "req_identifier_str", "identifier_str"), word(row, "msg_type"))


def _opcua_reply(row: Row) -> str | None:
    """Newer parsers join request and response in a row, older ones write a row each."""
    if word(row, "req_identifier_str", "identifier_str").endswith("Response"):
        return "reply"
    return "reply" if word(row, "msg_type") in {"ACK", "ERR"} else reply(row)


def _opcua_logon(row: Row) -> str:
    return "ActivateSession"


def _opcua_write(row: Row) -> str:
    return "Write"


# --- PROFINET, Genisys ---


def _profinet(row: Row) -> str:
    return one_of(word(row, "operation_num"), _VOCABULARY["profinet_io_cm"])


def _profinet_reply(row: Row) -> str | None:
    return None if word(row, "packet_type") == "Request" else "reply"


def _genisys(row: Row) -> str:
    return one_of(word(row, "header"), _VOCABULARY["genisys"])


def _genisys_reply(row: Row) -> str | None:
    return "reply" if word(row, "direction") == "response" else None


_MODBUS_ACT: Final = Act(
    protocol="modbus", operation=_modbus, object=text("unit"), outcome=_modbus_outcome, skip=_modbus_reply
)
_MODBUS_DETAIL: Final = replace(
    _MODBUS_ACT, operation=_modbus_detailed, object=joined(" ", "unit", "address"), by_sender=True
)
_S7_ACT: Final = Act(protocol="s7comm", operation=_s7, skip=_s7_reply, by_sender=True)
_BACNET_DETAIL: Final = Act(
    protocol="bacnet",
    operation=_bacnet,
    object=joined(" ", "object_type", "instance_number", "property", "value"),
    skip=_bacnet_detail_reply,
    by_sender=True,
)
_OPCUA_ACT: Final = Act(
    protocol="opcua", operation=_opcua, object=text("endpoint_url"), skip=_opcua_reply, by_sender=True
)

LOG_TYPES: Final = (
    log_type("modbus", _MODBUS_ACT),
    log_type("modbus_detailed", _MODBUS_DETAIL),
    log_type("modbus_mask_write_register", _MODBUS_DETAIL),
    log_type("modbus_read_write_multiple_registers", _MODBUS_DETAIL),
    log_type("dnp3", Act(protocol="dnp3", operation=_dnp3, skip=_dnp3_reply)),
    log_type(
        "dnp3_control",
        Act(
            protocol="dnp3",
            operation=_dnp3,
            object=joined(" ", "block_type", "index_number", "trip_control_code", "operation_type"),
            skip=reply,
            by_sender=True,
        ),
    ),
    log_type("s7comm", _S7_ACT),
    log_type(
        "s7comm_upload_download",
        replace(_S7_ACT, operation=_s7_transfer, object=joined(" ", "filename", "block_type", "block_number")),
    ),
    log_type("s7comm_read_szl", replace(_S7_ACT, operation=_read_szl, object=text("szl_id_name"), skip=_szl_reply)),
    log_type("s7comm_plus", Act(protocol="s7comm_plus", operation=_s7_plus, skip=_s7_plus_reply, by_sender=True)),
    log_type(
        "cip",
        Act(
            protocol="cip",
            operation=_cip,
            object=joined(" ", "class_name", "instance_id", "attribute_id"),
            skip=_cip_reply,
            by_sender=True,
        ),
    ),
    log_type("enip", Act(protocol="enip", operation=_enip, skip=reply, by_sender=True)),
    log_type("bacnet", Act(protocol="bacnet", operation=_bacnet, skip=_bacnet_reply, by_sender=True)),
    log_type("bacnet_property", _BACNET_DETAIL),
    log_type("bacnet_device_control", replace(_BACNET_DETAIL, object=text("device_state"), skip=reply)),
    log_type(
        "bacnet_discovery",
        replace(_BACNET_DETAIL, object=joined(" ", "object_type", "instance_number", "range"), skip=_bacnet_finds),
    ),
    log_type("opcua_binary", _OPCUA_ACT),
    log_type(
        "opcua_binary_activate_session",
        replace(
            _OPCUA_ACT,
            operation=_opcua_logon,
            object=text("ext_obj_type_id_str"),
            user=user("ext_obj_user_name"),
            skip=reply,
        ),
    ),
    log_type(
        "opcua_binary_write",
        replace(
            _OPCUA_ACT,
            operation=_opcua_write,
            skip=reply,
            object=joined(" ", "node_id_string", "node_id_numeric", "attribute_id_str"),
        ),
    ),
    log_type(
        "profinet_io_cm",
        Act(protocol="profinet_io_cm", operation=_profinet, skip=_profinet_reply, by_sender=True),
    ),
    log_type("genisys", Act(protocol="genisys", operation=_genisys, object=text("server"), skip=_genisys_reply)),
)

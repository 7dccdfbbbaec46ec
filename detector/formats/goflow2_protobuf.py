"""goflow2's protobuf messages as the rows its JSON would have, for `goflow2.convert`.

Every message of goflow2 v3 starts with its length as a varint, on Kafka too; older senders leave it out. Both
are taken. Field numbers are those of goflow2's ``flow.proto``.
"""

from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from detector.formats.batch import Row
from detector.formats.fields import BadValue

_LENGTH_BYTES: Final = 4  # of a varint that can be the length of one message
_TYPES: Final = ("FLOWUNKNOWN", "SFLOW_5", "NETFLOW_V5", "NETFLOW_V9", "IPFIX")
_NUMBERS: Final = {
    "type": 1,
    "sampling_rate": 3,
    "sequence_num": 4,
    "bytes": 9,
    "packets": 10,
    "in_if": 18,
    "out_if": 19,
    "proto": 20,
    "src_port": 21,
    "dst_port": 22,
    "tcp_flags": 26,
    "etype": 30,
    "time_received_ns": 110,
    "time_flow_start_ns": 111,
    "time_flow_end_ns": 112,
}
_ADDRESSES: Final = {"src_addr": 6, "dst_addr": 7, "sampler_address": 11}
_FAMILIES: Final = {4: AF_INET, 16: AF_INET6}


def _message_class() -> type[Message]:
    """The fields we read as a message type of its own; all others are skipped as unknown."""
    file = FileDescriptorProto(name="detector/goflow2.proto", package="detector.goflow2", syntax="proto3")
    message = file.message_type.add(name="Flow")
    for names, kind in (
        (_NUMBERS, FieldDescriptorProto.TYPE_UINT64),
        (_ADDRESSES, FieldDescriptorProto.TYPE_BYTES),
    ):
        for name, number in names.items():
            message.field.add(name=name, number=number, type=kind, label=FieldDescriptorProto.LABEL_OPTIONAL)
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("detector.goflow2.Flow"))


_Flow: Final[Any] = _message_class()


def row(message: bytes) -> Row:
    """One message, with or without its length in front, as goflow2's JSON row.

    Raises:
        BadValue: no flow message.
    """
    flow = _Flow()
    try:
        flow.ParseFromString(unframed(message))
    except DecodeError:
        raise BadValue("neither text nor a protobuf flow message") from None
    if not flow.time_received_ns and not flow.src_addr:
        raise BadValue("protobuf without a flow in it")
    return {
        "type": _TYPES[flow.type] if flow.type < len(_TYPES) else flow.type,
        "time_received_ns": flow.time_received_ns,
        "sequence_num": flow.sequence_num,
        "sampling_rate": flow.sampling_rate,
        "sampler_address": _text(flow.sampler_address),
        "time_flow_start_ns": flow.time_flow_start_ns,
        "time_flow_end_ns": flow.time_flow_end_ns,
        "bytes": flow.bytes,
        "packets": flow.packets,
        "src_addr": _text(flow.src_addr),
        "dst_addr": _text(flow.dst_addr),
        "etype": flow.etype,
        "proto": flow.proto,
        "src_port": flow.src_port,
        "dst_port": flow.dst_port,
        "in_if": flow.in_if,
        "out_if": flow.out_if,
        "tcp_flags": flow.tcp_flags,
    }


def _text(address: bytes) -> str:
    """Text of a packed address; empty, as goflow2 prints it, when it has another length than 4 or 16."""
    family = _FAMILIES.get(len(address))
    return inet_ntop(family, address) if family is not None else ""


def unframed(message: bytes) -> bytes:
    """The message without its length prefix, which is taken for one when it equals the bytes that follow."""
    length, start = _length(message, 0)
    return message[start:] if length is not None and length == len(message) - start else message


def _length(data: bytes, start: int) -> tuple[int | None, int]:
    """(varint at ``start``, where it ends); None when the data end within it or it is no length."""
    value = 0
    for index in range(start, min(start + _LENGTH_BYTES, len(data))):
        value |= (data[index] & 0x7F) << 7 * (index - start)
        if data[index] < 0x80:
            return value, index + 1
    return None, start

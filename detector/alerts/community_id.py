"""Community ID v1: one text for a conversation, whoever saw it, to find it again in other tools.

The specification is github.com/corelight/community-id-spec; its seed is 0, as in all tools unless told otherwise.
"""

import hashlib
from base64 import b64encode
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

_NUMBERS: Final = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58, "sctp": 132}  # IANA protocol numbers
_ICMP: Final = {
    1: frozenset({0, 8, 9, 10, 13, 14, 15, 16, 17, 18}),
    58: frozenset({128, 129, 130, 131, 133, 134, 135, 136, 139, 140, 144, 145}),
}
"""Types of messages that have an answer, as Zeek has them; of the others, type and code have a direction."""


def community_id(transport: str, src: str, src_port: int, dst: str, dst_port: int) -> str | None:
    """The id of a conversation; None for a transport without ports.

    Args:
        transport: lower case IANA name.
        src, dst: addresses in their canonical spelling.
        src_port, dst_port: of ICMP what Zeek writes there: the type, and the type of the answer or the code.

    >>> community_id("tcp", "128.232.110.120", 34855, "66.35.250.204", 80)
    '1:LQU9qZlK+B5F3KDmev6m5PMibrg='
    """
    ends = (_packed(src), src_port), (_packed(dst), dst_port)
    number = _NUMBERS.get(transport)
    if number is None or len(ends[0][0]) != len(ends[1][0]):
        return None
    if transport == "icmp" and len(ends[0][0]) > 4:  # Zeek calls both so
        number = _NUMBERS["ipv6-icmp"]
    one_way = number in _ICMP and src_port not in _ICMP[number]
    (low, low_port), (high, high_port) = ends if one_way else sorted(ends)
    ports = low_port.to_bytes(2, "big") + high_port.to_bytes(2, "big")
    digest = hashlib.sha1(bytes(2) + low + high + bytes([number, 0]) + ports, usedforsecurity=False).digest()
    return "1:" + b64encode(digest).decode("ascii")


def _packed(address: str) -> bytes:
    return inet_pton(AF_INET6 if ":" in address else AF_INET, address)

"""IP protocol numbers and names, and TCP flags, in the spellings flow exporters use for them."""

import re
from typing import Any, Final

from detector.formats.fields import BadValue, shown

NAMES: Final[dict[int, str]] = {
    0: "hopopt",
    1: "icmp",
    2: "igmp",
    4: "ipv4",
    6: "tcp",
    8: "egp",
    9: "igp",
    17: "udp",
    27: "rdp",
    33: "dccp",
    41: "ipv6",
    43: "ipv6-route",
    44: "ipv6-frag",
    46: "rsvp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "ipv6-icmp",
    59: "ipv6-nonxt",
    60: "ipv6-opts",
    88: "eigrp",
    89: "ospfigp",
    94: "ipip",
    97: "etherip",
    98: "encap",
    103: "pim",
    108: "ipcomp",
    112: "vrrp",
    115: "l2tp",
    124: "isis",
    132: "sctp",
    136: "udplite",
    137: "mpls-in-ip",
}
"""IANA protocol numbers seen on plant and office networks, lower case (IANA registry "Protocol Numbers")."""

WITH_PORTS: Final = frozenset({"tcp", "udp", "dccp", "sctp", "udplite"})
"""Protocols whose header has ports; in those of all others exporters put ICMP type and code, or rubbish."""

_ALIASES: Final = {
    "icmp6": "ipv6-icmp",
    "icmpv6": "ipv6-icmp",
    "icmp-v6": "ipv6-icmp",
    "ipencap": "ipv4",
    "ip-in-ip": "ipv4",
    "ospf": "ospfigp",
    "ipsec-esp": "esp",
    "ipsec-ah": "ah",
    "udp-lite": "udplite",
    "ip": "hopopt",
}
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9 .+/_()-]{0,31}", re.ASCII)
_NUMBERED: Final = re.compile(r"unknown \((\d{1,3})\)", re.ASCII)  # Beats prints "unknown (89)"

_FLAG_LETTERS: Final = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "C": 128, "N": 256}
_FLAG_NAMES: Final = {
    "FIN": 1,
    "SYN": 2,
    "RST": 4,
    "PSH": 8,
    "ACK": 16,
    "URG": 32,
    "ECE": 64,
    "CWR": 128,
    "NS": 256,
    "AE": 256,
}
_NUMBER_MAX: Final = 255
_DIGITS: Final = 9  # of a number in text that are read; longer ones are none in any case
_FLAG_TEXT_MAX: Final = 16
FLAGS_MAX: Final = 0xFFFF  # IPFIX tcpControlBits is two octets since RFC 7125


def protocol(value: Any) -> str:
    """The lower-case IANA name of a protocol given by number, number text or name.

    A number without a name in `NAMES` becomes its decimal text; a name not in the table stays as it is.

    Raises:
        BadValue: no protocol.
    """
    if isinstance(value, str):
        text = value.strip().lower()
        numbered = _NUMBERED.fullmatch(text)
        text = numbered[1] if numbered else text
        if not (text.isascii() and text.isdigit()):
            return _named(text)
        value = int(text[:_DIGITS])
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _NUMBER_MAX:
        return NAMES.get(value, str(value))
    raise BadValue("not an IP protocol", shown(str(value)))


def _named(text: str) -> str:
    if _NAME.fullmatch(text) is None:
        raise BadValue("not an IP protocol", shown(text))
    return _ALIASES.get(text, text)


def tcp_flags(value: Any) -> int:
    """TCP flags as the OR of their RFC 9293 bits.

    Accepted: an integer, decimal or ``0x`` text, letters (``...AP.SF``, any order, dots for unset), a list of
    flag names (``["ACK", "SYN"]``).

    Raises:
        BadValue: none of these.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        flags = value
    elif isinstance(value, str):
        flags = _flag_text(value.strip())
    elif isinstance(value, list):
        flags = _flag_list(value)
    else:
        raise BadValue("not TCP flags", shown(str(value)))
    if not 0 <= flags <= FLAGS_MAX:
        raise BadValue("not TCP flags", str(flags))
    return flags


def _flag_text(text: str) -> int:
    if len(text) > _FLAG_TEXT_MAX or not text.isascii():
        raise BadValue("not TCP flags", shown(text))
    try:
        return int(text, 16 if text[:2].lower() == "0x" else 10)
    except ValueError:
        pass
    flags = 0
    for letter in text.upper():
        if letter not in _FLAG_LETTERS and letter != ".":
            raise BadValue("not TCP flags", shown(text))
        flags |= _FLAG_LETTERS.get(letter, 0)
    return flags


def _flag_list(names: list[Any]) -> int:
    flags = 0
    for name in names:
        if not isinstance(name, str) or name.upper() not in _FLAG_NAMES:
            raise BadValue("not a TCP flag", shown(str(name)))
        flags |= _FLAG_NAMES[name.upper()]
    return flags

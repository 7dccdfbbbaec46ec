"""What Zeek's logs tell of hosts besides who did what to whom: names, hardware addresses, banners, certificates.

One table for all logs, beside the operations: which field of which log is a statement of which kind about whom. Nearly
all of it is what the other side claims; what is kept is text for people, and cut at `VALUE_LIMIT`.

A log may name its host by something other than an address: a certificate by its fingerprint, an old known_devices.log
by its hardware address. The statement is then about that; who has it, other statements tell (``certificate_of``,
``mac``).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from detector.formats.address import canonical
from detector.formats.batch import Batch, Row
from detector.formats.fields import SECONDS_BELOW, BadValue, micros
from detector.formats.zeek import ORIG_H, RESP_H, flatten
from detector.formats.zeek_acts import flag, word

VALUE_LIMIT: Final = 160  # characters of a statement; a user agent has about 120
_MAC: Final = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", re.ASCII)
_NO_MAC: Final = frozenset({"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"})
_GROUP_BIT: Final = 0x01  # of the first octet: a group address (IEEE 802), nobody's own
_REVERSE: Final = (".in-addr.arpa", ".ip6.arpa")
_UTC: Final = ZoneInfo("UTC")
_UNC: Final = re.compile(r"\\\\([^\\]+)\\")

Texts = Callable[[Row], Iterable[str]]
"""A reader of no, one or many texts of a row."""

Found = tuple[int, str, str, str, str]
"""Time in µs, host, kind, value, log."""


@dataclass(frozen=True, slots=True)
class Sight:
    """A statement that rows of a log make.

    Args:
        kind: of the statement, one of `KINDS`.
        host: whom it is about.
        value: what is said.
    """

    kind: str
    host: Texts
    value: Texts


def sightings(batch: Batch) -> Iterator[Found]:
    """The statements of all rows of a log; rows without a usable time or host make none."""
    sights = SIGHTS.get(batch.log)
    if sights is None:
        return
    flatten(batch)
    for row in batch.rows:
        time = _time(row.get("ts"))
        if time is None:
            continue
        for sight in sights:
            for value in sight.value(row):
                for host in sight.host(row):
                    yield time, host, sight.kind, value[:VALUE_LIMIT], batch.log
        if batch.log == "zeek.dns":
            yield from ((time, host, "dns_name", name[:VALUE_LIMIT], batch.log) for host, name in _resolved(row))


def _time(value: Any) -> int | None:
    if type(value) is float and 0.0 <= value < SECONDS_BELOW:
        return round(value * 1e6)
    try:
        return micros(value, _UTC)
    except BadValue:
        return None


# --- readers ---


def _address(*names: str) -> Texts:
    def read(row: Row) -> Iterator[str]:
        for name in names:
            value = row.get(name)
            if type(value) is str and (address := canonical(value)) is not None:
                yield address
                return

    return read


_orig: Final = _address(*ORIG_H)
_resp: Final = _address(*RESP_H)
_sender: Final = _address("source_h", *RESP_H)


def _text(*names: str) -> Texts:
    """The first of these fields that says something."""

    def read(row: Row) -> Iterator[str]:
        for name in names:
            value = word_of(row.get(name))
            if value:
                yield value
                return

    return read


def word_of(value: Any) -> str:
    """A cell as text, empty for what Zeek writes when there is nothing."""
    text = str(value) if type(value) is int else value if type(value) is str else ""
    return "" if text in {"-", "(empty)"} else text.strip()[:VALUE_LIMIT]


def _joined(*names: str) -> Texts:
    """Those of these fields that say something, with blanks between."""

    def read(row: Row) -> Iterator[str]:
        text = " ".join(part for name in names if (part := word_of(row.get(name))))
        if text:
            yield text

    return read


def _labelled(label: str, *names: str) -> Texts:
    def read(row: Row) -> Iterator[str]:
        for text in _joined(*names)(row):
            yield f"{label} {text}"

    return read


def _fixed(text: str) -> Texts:
    return lambda row: (text,)


def mac_of(value: Any) -> str | None:
    """A hardware address in Zeek's writing; None for groups, broadcast and rubbish.

    >>> mac_of("00-1B-1B-AA-00-01"), mac_of("01:00:5e:00:00:fb")
    ('00:1b:1b:aa:00:01', None)
    """
    text = value.lower().replace("-", ":") if type(value) is str else ""
    if not _MAC.fullmatch(text) or text in _NO_MAC or int(text[:2], 16) & _GROUP_BIT:
        return None
    return text


def _mac(*names: str) -> Texts:
    def read(row: Row) -> Iterator[str]:
        for name in names:
            if (found := mac_of(row.get(name))) is not None:
                yield found
                return

    return read


def _items(value: Any) -> list[Any]:
    """A vector of Zeek's, which a table without types has as text with commas."""
    if type(value) is list:
        return value
    return value.split(",") if type(value) is str else []


def _machine(row: Row) -> Iterator[str]:
    """The host of a machine account: ``WS07$/PLANT.EXAMPLE`` asks for a ticket."""
    name = word(row, "client").partition("/")[0].partition("@")[0]
    if name.endswith("$") and len(name) > 1:
        yield name[:-1]


def _share_host(row: Row) -> Iterator[str]:
    found = _UNC.match(word(row, "path"))
    if found and canonical(found[1]) is None:
        yield found[1]


def _server_name(row: Row) -> Iterator[str]:
    name = word_of(row.get("server_name"))
    if name and canonical(name) is None:
        yield name


def _resolved(row: Row) -> Iterator[tuple[str, str]]:
    """Addresses and names of answers: A and AAAA by their answers, PTR by the question."""
    query, kind = word_of(row.get("query")), word(row, "qtype_name")
    if not query:
        return
    if kind in {"A", "AAAA"}:
        for answer in _items(row.get("answers")):
            address = canonical(answer) if type(answer) is str else None
            if address is not None:
                yield address, query
    elif kind == "PTR" and query.lower().endswith(_REVERSE[0]):
        address = canonical(".".join(reversed(query[: -len(_REVERSE[0])].split("."))))
        if address is not None:
            yield from ((address, name) for answer in _items(row.get("answers"))[:1] if (name := word_of(answer)))


def _service(row: Row) -> Iterator[str]:
    """``tcp/443``, as `assets.services` wants it."""
    port, proto = row.get("port_num"), word(row, "port_proto").lower()
    if type(port) is int and proto in {"tcp", "udp"}:
        yield f"{proto}/{port}"


def _first_certificate(row: Row) -> Iterator[str]:
    for item in _items(row.get("cert_chain_fps"))[:1]:
        yield word_of(item).lower()


def _fingerprint(row: Row) -> Iterator[str]:
    yield from (text.lower() for text in _text("fingerprint")(row))


def _subject(row: Row) -> Iterator[str]:
    yield from _text("subject")(row)


def _modbus_side(side: str, row: Row) -> Iterator[str]:
    if side in word(row, "device_type").lower():
        yield f"modbus {'client' if side == 'master' else 'server'}"


def _both(protocol: str) -> tuple[Sight, ...]:
    """A plant protocol whose log no model reads: who opened is the client, who answered the server."""
    return (
        Sight("ot", _orig, _fixed(f"{protocol} client")),
        Sight("ot", _resp, _fixed(f"{protocol} server")),
    )


def _i_am(row: Row) -> Iterator[str]:
    """What a BACnet device says of itself; who asks says nothing."""
    if word(row, "pdu_service").lower().replace("_", "-") == "i-am" and flag(row, "is_orig") is not False:
        yield from _labelled("BACnet device", "vendor", "instance_number")(row)


SIGHTS: Final[dict[str, tuple[Sight, ...]]] = {
    "zeek.conn": (
        Sight("next_hop", _orig, _mac("orig_l2_addr")),
        Sight("next_hop", _resp, _mac("resp_l2_addr")),
    ),
    "zeek.dhcp": (
        Sight("mac", _address("assigned_addr", "assigned_ip", "client_addr", "requested_addr"), _mac("mac")),
        Sight("lease", _address("assigned_addr", "assigned_ip", "client_addr"), _fixed("dhcp")),
        Sight("hostname", _address("assigned_addr", "assigned_ip", "client_addr"), _text("client_fqdn", "host_name")),
        Sight("service", _address("server_addr"), _fixed("udp/67")),
        Sight("device", _address("assigned_addr", "client_addr"), _labelled("DHCP class", "client_software")),
    ),
    "zeek.ecat_arp_info": (
        Sight("mac", _address("orig_proto_addr", "SPA"), _mac("orig_hw_addr", "mac_src", "SHA")),
        Sight("mac", _address("resp_proto_addr", "TPA"), _mac("resp_hw_addr", "THA")),
    ),
    "zeek.known_devices": (
        Sight("mac", _address("host", "ip"), _mac("mac")),
        Sight("hostname", _mac("mac"), _text("dhcp_host_name")),
    ),
    "zeek.known_hosts": (Sight("known", _address("host"), _fixed("known_hosts")),),
    "zeek.known_routers": (Sight("router", _address("router", "host"), _fixed("known_routers")),),
    "zeek.known_services": (Sight("service", _address("host"), _service),),
    "zeek.known_certs": (Sight("certificate", _address("host"), _subject),),
    "zeek.known_modbus": (
        Sight("ot", _address("host"), partial(_modbus_side, "master")),
        Sight("ot", _address("host"), partial(_modbus_side, "slave")),
    ),
    "zeek.software": (
        Sight("software", _address("host"), _joined("software_type", "unparsed_version")),
        Sight("software_type", _address("host"), _text("software_type")),
    ),
    "zeek.http": (Sight("user_agent", _orig, _text("user_agent")),),
    "zeek.ssh": (
        Sight("software", _orig, _labelled("SSH::CLIENT", "client")),
        Sight("software", _resp, _labelled("SSH::SERVER", "server")),
    ),
    "zeek.rdp": (
        Sight("hostname", _orig, _text("client_name")),
        Sight("software", _orig, _labelled("RDP::CLIENT", "client_build")),
    ),
    "zeek.rfb": (Sight("hostname", _resp, _text("desktop_name")),),
    "zeek.ntlm": (
        Sight("hostname", _orig, _text("hostname")),
        Sight("hostname", _resp, _text("server_dns_computer_name", "server_nb_computer_name")),
    ),
    "zeek.kerberos": (Sight("hostname", _orig, _machine),),
    "zeek.smb_mapping": (Sight("hostname", _resp, _share_host),),
    "zeek.ssl": (
        Sight("tls_name", _resp, _server_name),
        Sight("certificate", _resp, _subject),
        Sight("certificate_of", _resp, _first_certificate),
    ),
    "zeek.x509": (Sight("certificate", _fingerprint, _text("certificate.subject")),),
    "zeek.snmp": (Sight("device", _resp, _labelled("SNMP", "display_string")),),
    "zeek.dns": (),
    "zeek.cip_identity": (
        Sight(
            "device",
            _address("socket_address", "source_h", *RESP_H),
            _joined("vendor_name", "product_name", "device_type_name", "revision"),
        ),
    ),
    "zeek.s7comm_known_devices": (
        Sight("device", _resp, _joined("module_name", "automation_system_name", "plant_name", "module_serial")),
    ),
    "zeek.bacnet_discovery": (Sight("device", _sender, _i_am),),
    "zeek.opcua_binary_get_endpoints_description": (
        Sight("device", _sender, _labelled("OPC UA", "application_name_text", "application_name", "application_uri")),
    ),
    "zeek.c1222": _both("c1222"),
    "zeek.ge_srtp": _both("ge-srtp"),
    "zeek.hart_ip": _both("hart-ip"),
    "zeek.iec104": _both("iec104"),
    "zeek.omron_fins": _both("fins"),
    "zeek.profinet_dce_rpc": _both("profinet"),
    "zeek.roc_plus": _both("roc-plus"),
    "zeek.synchrophasor": _both("synchrophasor"),
}
"""Log type -> the statements of its rows. Field names: Zeek 7 and 8 (``base/protocols``, ``policy/protocols``,
``policy/misc``), Bro 2 where they differ (``assigned_ip``), CISA's ICSNPP parsers."""

KINDS: Final = frozenset({sight.kind for sights in SIGHTS.values() for sight in sights} | {"dns_name"})
ALIASES: Final = frozenset({"mac", "certificate_of"})
"""Kinds whose value may stand for the host in other statements."""

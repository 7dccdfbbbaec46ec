"""The usual lines of goflow2's JSON, straight from their bytes into a frame.

What `formats.goflow2` and `formats.netflow` do row by row happens here column by column, with the same outcome. Usual
are records with nanoseconds for times that need no mending, and protocols by name; all others take the general path.
"""

from functools import partial
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.formats import json_lines, line_cells
from detector.formats.address import canonical
from detector.formats.detect import GOFLOW2_TYPES
from detector.formats.fields import BadValue
from detector.formats.flow_times import CLOCK_SLACK, LATE_LIMIT, NS_FROM
from detector.formats.line_cells import COUNT, LINE, SKIP, TEXT, TEXT_BYTES, Meanings, Reader, Taken
from detector.formats.netflow import PORT_MAX, UNSPECIFIED, exporter
from detector.formats.protocols import FLAGS_MAX, WITH_PORTS, protocol
from detector.records import Lines

LOG: Final = "netflow.goflow2"
_COUNT_MAX: Final = 2**63 - 1
_NANO: Final = 1_000
_MICRO: Final = 1e6

TYPE, RECEIVED, START, END, ORIG_H, RESP_H, PROTO, ORIG_P, RESP_P = range(1, 10)
BYTES, PACKETS, FLAGS, SAMPLING, SAMPLER = range(10, 15)
_CELLS: Final = 15
_HOSTS: Final = np.array([ORIG_H, RESP_H])
_WORDS: Final = np.array([PROTO, TYPE, SAMPLER])
_UNREAD: Final = (
    ("etype", "in_if", "out_if", "src_mac", "dst_mac", "src_vlan", "dst_vlan", "vlan_id", "ip_tos"),
    ("forwarding_status", "ip_ttl", "ip_flags", "icmp_type", "icmp_code", "ipv6_flow_label", "fragment_id"),
    ("fragment_offset", "src_as", "dst_as", "next_hop", "next_hop_as", "src_net", "dst_net", "bgp_next_hop"),
    ("bgp_communities", "as_path", "mpls_ttl", "mpls_label", "mpls_ip", "observation_domain_id"),
    ("observation_point_id", "layer_stack", "layer_size", "ipv6_routing_header_addresses"),
    ("ipv6_routing_header_seg_left", "flow_direction"),
)
_FIELDS: Final[tuple[json_lines.Field, ...]] = (
    ("type", TEXT, TYPE, TEXT_BYTES),
    ("time_received_ns", COUNT, RECEIVED, _COUNT_MAX),
    ("sequence_num", SKIP, LINE, 0),
    ("sampling_rate", COUNT, SAMPLING, _COUNT_MAX),
    ("sampler_address", TEXT, SAMPLER, TEXT_BYTES),
    ("time_flow_start_ns", COUNT, START, _COUNT_MAX),
    ("time_flow_end_ns", COUNT, END, _COUNT_MAX),
    ("bytes", COUNT, BYTES, _COUNT_MAX),
    ("packets", COUNT, PACKETS, _COUNT_MAX),
    ("src_addr", TEXT, ORIG_H, TEXT_BYTES),
    ("dst_addr", TEXT, RESP_H, TEXT_BYTES),
    ("proto", TEXT, PROTO, TEXT_BYTES),
    ("src_port", COUNT, ORIG_P, PORT_MAX),
    ("dst_port", COUNT, RESP_P, PORT_MAX),
    ("tcp_flags", COUNT, FLAGS, FLAGS_MAX),
    *((name, SKIP, LINE, 0) for names in _UNREAD for name in names),
)
"""In the order of goflow2's ``flow.proto``, where it is read at all."""
_KEYS: Final = json_lines.keys(_FIELDS, (START, END, ORIG_H, RESP_H, PROTO))


def _host(text: str) -> str | None:
    """Addresses that are not set may mean that a record is no traffic: the general path decides."""
    return None if text in UNSPECIFIED else canonical(text)


def _proto(text: str) -> str | None:
    try:
        return protocol(text)
    except BadValue:
        return None


def _with_ports(text: str) -> str | None:
    proto = _proto(text)
    return proto if proto in WITH_PORTS else None


def _tcp(text: str) -> str | None:
    return "tcp" if _proto(text) == "tcp" else None


def _kind(text: str) -> str | None:
    return text if text in GOFLOW2_TYPES else None


class Goflow2Lines:
    """Reads the usual lines of one source.

    Args:
        source: as it stands in the frames.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._hosts = Meanings(json_lines.spelling, _host)
        self._words = Meanings(json_lines.spelling, _proto, _with_ports, _tcp, _kind, exporter)
        self._reader = Reader(_CELLS, ((self._hosts, _HOSTS), (self._words, _WORDS)))
        self._kernel = partial(json_lines.read_lines, keys=_KEYS.given())

    def read(self, lines: Lines, positions: NDArray[np.int64]) -> Taken:
        """The lines at these positions: those that are usual, and the numbers of the others."""
        cells = self._reader.read(lines, self._kernel)
        table = cells.table
        rates = np.maximum(table[SAMPLING], 1)
        usable = cells.found & _timely(table) & self._is_goflow2(table)
        usable &= np.maximum(table[BYTES], table[PACKETS]) <= _COUNT_MAX // rates
        flows = self._flows(table, rates, positions[table[LINE]])
        for name in ("orig_h", "resp_h", "proto"):
            if flows[name].null_count():
                usable &= flows[name].is_not_null().to_numpy()
        return line_cells.take(flows, cells, usable, len(positions), usable, ("goflow2", "goflow2"))

    def _is_goflow2(self, table: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether `formats.detect` would take each row for one of goflow2."""
        return np.asarray((table[RECEIVED] >= 0) | self._has(_kind, table[TYPE]))

    def _has(self, meaning: line_cells.Meaning, numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(self._words.column(meaning, numbers).is_not_null().to_numpy())

    def _flows(self, table: NDArray[np.int64], rates: NDArray[np.int64], positions: NDArray[np.int64]) -> pl.DataFrame:
        ported = self._has(_with_ports, table[PROTO])
        flags = np.where(self._has(_tcp, table[PROTO]), table[FLAGS], line_cells.ABSENT)
        start, end = table[START] // _NANO, table[END] // _NANO
        given: dict[str, Any] = {
            "ts": start,
            "obs_ts": end,
            "orig_h": self._hosts.column(_host, table[ORIG_H]),
            "orig_p": np.where(ported, np.maximum(table[ORIG_P], 0), 0).astype(np.int32),
            "resp_h": self._hosts.column(_host, table[RESP_H]),
            "resp_p": np.where(ported, np.maximum(table[RESP_P], 0), 0).astype(np.int32),
            "proto": self._words.column(_proto, table[PROTO]),
            "duration": (end - start) / _MICRO,
            "orig_bytes": line_cells.counts(table[BYTES] * rates),
            "orig_pkts": line_cells.counts(table[PACKETS] * rates),
            "orig_flags": pa.array(flags.astype(np.int32), mask=flags < 0),
            "oriented": False,
            "exporter": self._words.column(exporter, table[SAMPLER]),
            "sampling": pa.array(table[SAMPLING], mask=table[SAMPLING] <= 0),
            "log": LOG,
            "source": self._source,
            "position": positions,
        }
        return line_cells.frame(given, len(positions))


def _timely(table: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the times are nanoseconds that `flow_times.settled` would leave as they are."""
    late = table[RECEIVED] // _NANO - table[END] // _NANO
    told = table[RECEIVED] >= 0
    good = (table[START] >= NS_FROM) & (table[START] // _NANO <= table[END] // _NANO)
    good &= ~told | ((table[RECEIVED] >= NS_FROM) & (late >= -CLOCK_SLACK) & (late <= LATE_LIMIT))
    return np.asarray(good)

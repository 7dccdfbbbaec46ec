"""The same connections as routers export them: goflow2's JSON, one record for each direction with packets."""

from pathlib import Path
from typing import Final

import numpy as np

from .dated_log import DatedLog
from .draw import Ints, Mask, below
from .plant import Plant, Role
from .services import IS_TCP, SERVICES, Kind
from .wire import OTH, REJ, RSTO, RSTR, S0, S1, SF, STATES, Conns, ip_bytes

_EXPORTERS: Final = ("10.255.0.1", "10.255.0.2")  # core switch of the office, core switch of the plant
_INACTIVE: Final = 15_000_000  # µs a finished flow waits in the cache: the usual inactive timeout
_TWICE: Final = 30  # of 1,000 flows are exported at their incoming and again at their outgoing interface
_PROTO: Final = {"tcp": "TCP", "udp": "UDP", "icmp": "ICMP"}
_DEEP: Final = (Role.HISTORIAN, Role.MES, Role.EWS, Role.HMI, Role.PLC, Role.JUMP, Role.MIRROR, Role.RELAY)

# OR of TCP flags (RFC 9293: FIN 1, SYN 2, RST 4, PSH 8, ACK 16) by state, originator and responder.
_FLAGS: Final = np.zeros((len(STATES), 2), dtype=np.int64)
_FLAGS[[SF, S0, REJ, RSTO, RSTR, S1, OTH]] = [(27, 27), (2, 0), (2, 20), (30, 26), (26, 30), (26, 26), (0, 0)]


class NetflowWriter:
    """Writes ``<root>/<date>.json``, ordered by the time the collector received each record.

    Args:
        root: folder.
        plant: whose hosts they are.
        exporters: addresses of the two that see it: in the office, and in the plant.
        mark: put in front of the fields of each record: JSON text that ends with a comma.
    """

    def __init__(self, root: Path, plant: Plant, exporters: tuple[str, str] = _EXPORTERS, mark: str = "") -> None:
        self._file = DatedLog(lambda date: root / f"{date}.json")
        self._exporters, self._mark = exporters, mark
        deep = {role: role in _DEEP for role in Role}
        self._exporter = np.array([deep[host.role] for host in plant.hosts], dtype=np.int64)
        self._sequence = [0, 0]

    @property
    def written(self) -> int:
        """Records written so far."""
        return self._file.written

    def add(self, conns: Conns, addresses: list[str], rng: np.random.Generator) -> None:
        """Takes connections."""
        received = conns.end // 1000 * 1000 + _INACTIVE + below(rng, 900, len(conns)) * 1000
        order = np.argsort(received, kind="stable")
        twice = below(rng, 1000, len(conns)) < _TWICE
        due, lines = self._records(conns.take(order), received[order], twice[order], addresses)
        self._file.add(np.array(due, dtype=np.int64), lines)

    def write_until(self, moment: int) -> None:
        """Writes all records received before ``moment`` (µs)."""
        self._file.write_until(moment)

    def _records(
        self,
        conns: Conns,
        received: Ints,
        twice: Mask,
        addresses: list[str],
    ) -> tuple[list[int], list[str]]:
        """Both directions of each connection, as ms times in ns, with the exporter's running number."""
        due: list[int] = []
        lines: list[str] = []
        exporter = np.maximum(self._exporter[conns.orig], self._exporter[conns.resp]).tolist()
        for core, again, (arrival, *sides) in zip(
            exporter, twice.tolist(), _sides(conns, received, addresses), strict=True
        ):
            for side in sides:
                if side:
                    for interfaces in _INTERFACES if again else _INTERFACES[:1]:
                        self._sequence[core] += 1
                        due.append(arrival)
                        lines.append(
                            f'{{{self._mark}"type":"NETFLOW_V9","time_received_ns":{arrival}000,"sequence_num":{self._sequence[core]},'
                            f'"sampling_rate":1,"sampler_address":"{self._exporters[core]}",{side},{interfaces}}}\n'
                        )
        return due, lines


_INTERFACES: Final = ('"in_if":11,"out_if":24', '"in_if":24,"out_if":11')


def _sides(conns: Conns, received: Ints, addresses: list[str]) -> list[tuple[int, str, str]]:
    """For each connection: arrival, what only the originator's and the responder's records hold."""
    protos = [_PROTO[SERVICES[kind].proto] for kind in Kind]
    flags = _FLAGS[conns.state] * IS_TCP[conns.kind][:, None]
    orig_ip, resp_ip = ip_bytes(conns)
    icmp = conns.kind == Kind.PING
    columns = (
        received,
        conns.ts // 1000,
        conns.end // 1000,
        conns.orig,
        conns.resp,
        np.where(icmp, 0, conns.orig_p),
        conns.resp_p,
        conns.kind,
        orig_ip,
        conns.orig_pkts,
        resp_ip,
        conns.resp_pkts,
        flags[:, 0],
        flags[:, 1],
    )
    sides = []
    for arrival, start, end, orig, resp, orig_p, resp_p, kind, ip, pkts, back_ip, back, sent, answered in zip(
        *(column.tolist() for column in columns), strict=True
    ):
        times = f'"time_flow_start_ns":{start}000000,"time_flow_end_ns":{end}000000'
        etype = "IPv6" if ":" in addresses[orig] else "IPv4"
        proto = f'"etype":"{etype}","proto":"{protos[kind]}"'
        forth = (
            f'{times},"bytes":{ip},"packets":{pkts},"src_addr":"{addresses[orig]}","dst_addr":"{addresses[resp]}",'
            f'{proto},"src_port":{orig_p},"dst_port":{resp_p},"tcp_flags":{sent}'
        )
        reply = (
            f'{times},"bytes":{back_ip},"packets":{back},"src_addr":"{addresses[resp]}","dst_addr":"{addresses[orig]}",'
            f'{proto},"src_port":{resp_p},"dst_port":{orig_p},"tcp_flags":{answered}'
        )
        sides.append((arrival, forth, reply if back else ""))
    return sides

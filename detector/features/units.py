"""Units: one row a conversation or a protocol act, with the keys, the stratum and the prior bonus its score needs."""

from functools import lru_cache, partial
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets import services
from detector.assets.hosts import OT_LEVEL, OUTSIDE, Hosts
from detector.assets.plant import Plant
from detector.features.acts import ACT, ATTEMPT_KIND, FLOW_KIND, OPERATION_KIND, Acts, KnownActs
from detector.features.conduits import Conduits
from detector.features.declared import NONE, Declared
from detector.features.known import KnownHosts
from detector.rows import ABSENT, Coded, Column, Rows, nothing
from detector.state.compiled import kernel
from detector.state.keys import Keys, mix_all, text_keys
from detector.state.texts import numbered

KINDS: Final = ("connection", "attempt", "operation")
PLACES: Final = ("inside IT", "OT", "from outside", "to outside")
PLACE_INTEREST: Final = (4.0, 2.0, 0.5, 0.5)
"""How much of the attention a place deserves: lateral movement shows inside and towards OT. Rows are compared within
strata; stratum = class * len(PLACES) + place."""

ESTABLISHED_STATES: Final = ("SF", "S1", "S2", "S3", "RSTO", "RSTR")
"""Zeek conn_state values in which both sides spoke; S0, REJ, RSTOS0, SH, SHR, RSTRH are attempts; OTH is
judged by packets."""
_OPEN_STATES: Final = ("OTH", "SHR")
_EVIDENCE: Final = (
    "proto", "conn_state", "orig_bytes", "resp_bytes", "orig_pkts", "resp_pkts", "orig_flags", "resp_flags", "oriented",
    "sampling",
)  # fmt: skip

CROSSING_BONUS: Final = 3.0
"""Nats: prior odds x 20 for a jump over a Purdue level that no conduit permits."""
UNASKED: Final = -1
_PLACES: Final = len(PLACES)
_FROM_OUTSIDE, _TO_OUTSIDE = PLACES.index("from outside"), PLACES.index("to outside")  # 0 and 1: whether it is OT
_OF_HOSTS: Final = ("level", "inside", "group", "named", "id", "device", "zone_id", "zone")
_WEIGHED: Final = ("stratum_class", "crossing_class", "foothold", "industrial", "bonus")  # of acts, as `_weigh` wants
_MOST_WAYS: Final = 1 << 16  # between zones, looked up and kept; no result depends on it
COMMON: Final = (
    "ts", "obs_ts", "uid", "orig_h", "orig_p", "resp_h", "resp_p", "log", "source", "position", "late",
)  # fmt: skip
_OF_FLOWS: Final = ("orig_bytes", "resp_bytes", "duration", "guessed")
UNIT: Final = (*COMMON, "proto", "service", "kind", "operation", "object", "user", "outcome", *_OF_FLOWS)
"""Columns of a unit."""


def flow_units(flows: Rows) -> Rows:
    """Oriented flows as units: `COMMON` plus ``proto``, ``service``, ``kind``, ``operation``, ``object``, ``user``,
    ``outcome``, ``orig_bytes``, ``resp_bytes``, ``duration`` (seconds), ``guessed``."""
    return (
        flows.only((*COMMON, "proto", *_OF_FLOWS))
        .plus(
            {
                "service": _services(flows),
                "kind": np.where(_answered(flows), FLOW_KIND, ATTEMPT_KIND).astype(np.int32),
                **dict.fromkeys(("operation", "object", "user", "outcome"), _no_text(flows.height)),
            }
        )
        .only(UNIT)
    )


def _no_text(height: int) -> Coded:
    return Coded(np.zeros(height, dtype=np.int64), [None])


def _services(flows: Rows) -> Coded:
    """The service of each row, worked out once a protocol and port."""
    protos, names = flows.coded("proto")
    ports = flows.array("resp_p").astype(np.int64)
    codes, firsts = numbered((ports - ABSENT["resp_p"]) * len(names) + protos)
    told = zip(protos[firsts].tolist(), ports[firsts].tolist(), strict=True)
    return Coded(codes, [_token(names[proto], port) for proto, port in told])


def _token(proto: str | None, port: int) -> str:
    """Tables without a protocol column hold TCP more often than not."""
    return services.token(proto or "tcp", None if port == ABSENT["resp_p"] else port)


def operation_units(operations: Rows) -> Rows:
    """Operations as units, same columns as `flow_units`."""
    height = operations.height
    unknown = np.full(height, int(ABSENT["orig_bytes"]), dtype=np.int64)
    return operations.plus(
        {
            "service": partial(operations.made, "protocol"),
            "kind": np.full(height, OPERATION_KIND, dtype=np.int32),
            "orig_bytes": unknown,
            "resp_bytes": unknown,
            "duration": partial(nothing, height, pl.Float64()),
            "guessed": np.zeros(height, dtype=np.bool_),
            "proto": _no_text(height),
        }
    ).only(UNIT)


def _answered(flows: Rows) -> NDArray[np.bool_]:
    """Whether both sides spoke. Unanswered UDP and rejected TCP are evidence of scanning, not edges. Most states of
    Zeek say it."""
    codes, states = flows.coded("conn_state")
    answered = np.array([state in ESTABLISHED_STATES for state in states])[codes]
    open_ = np.flatnonzero(np.array([state is None or state in _OPEN_STATES for state in states])[codes])
    if open_.size:
        answered[open_] = flows.at(open_).frame(_EVIDENCE).select(_established()).to_series().to_numpy()
    return answered


def _established() -> pl.Expr:
    """Where the state of the connection does not say it."""
    orig, resp = pl.col("orig_flags"), pl.col("resp_flags")
    fin, syn, rst, psh, ack = 0x01, 0x02, 0x04, 0x08, 0x10
    answered = (pl.col("resp_pkts").fill_null(0) > 0) | (pl.col("resp_bytes").fill_null(0) > 0)
    one_sided = pl.col("resp_pkts").is_null() & pl.col("resp_bytes").is_null()
    uncounted = pl.col("orig_pkts").is_null() & pl.col("orig_bytes").is_null()
    refused = ((resp & rst) != 0) & ((resp & (syn | psh | fin)) == 0)
    by_flags = (
        pl.when(resp.is_null())
        .then((orig & ack) != 0)  # only the originator's half was exported
        .when(orig.is_null())
        .then(~refused)  # only the responder's half
        # An accepted SYN is a connection even when the originator then says no more, as in Zeek's S1 and RSTO;
        # otherwise both acknowledge: a later part of a conversation, or a sampled one.
        .otherwise(((resp & ack) != 0) & (((resp & syn) != 0) | ((orig & ack) != 0)))
    )
    tcp_flags = (pl.col("proto") == "tcp") & (orig.fill_null(0) + resp.fill_null(0) != 0)
    return (
        pl.when((pl.col("conn_state") == "OTH") | ((pl.col("conn_state") == "SHR") & (pl.col("proto") != "tcp")))
        .then(answered)  # SHR of UDP: only the reply was seen
        .when(pl.col("conn_state").is_not_null())
        .then(False)
        .when(tcp_flags)
        .then(by_flags)
        .when(one_sided & (pl.col("oriented") | uncounted | (pl.col("sampling") > 1)))
        .then(True)  # nothing is known of the reply
        .otherwise(answered)
    )


def outside_key() -> np.uint64:
    """The key of the zone of hosts outside."""
    key: np.uint64 = text_keys(pl.Series([OUTSIDE]))[0]
    return key


Side = dict[str, Any]
"""What is known of the hosts at one end, by name of the column."""


@kernel
def _spread(places: Any, known: Any, found: Any) -> None:
    """found <- what is known of hosts, in the order of `_OF_HOSTS`, at places."""
    levels, insides, groups, named, ids, devices, zone_ids, zones = known
    of_level, of_inside, of_group, of_named, of_id, of_device, of_zone_id, of_zone = found
    for row in range(places.size):
        place = places[row]
        of_level[row], of_inside[row], of_group[row] = levels[place], insides[place], groups[place]
        of_named[row], of_id[row], of_device[row] = named[place], ids[place], devices[place]
        of_zone_id[row], of_zone[row] = zone_ids[place], zones[place]


@kernel
def _weigh(acts: Any, met: Any, sides: Any, crossing: Any, bonus: Any, stratum: Any, moves: Any) -> None:
    """bonus, stratum, moves <- see `Enrich`.

    Args:
        acts: places in the columns of ``met``, in the order of `_WEIGHED`.
        sides: level, inside and group of originators, then of responders.
    """
    classes, crossing_classes, footholds, industrial, bonuses = met
    from_level, from_inside, _, to_level, to_inside, to_group = sides
    for row in range(acts.size):
        act = acts[row]
        of_class = crossing_classes[act] if crossing[row] else classes[act]
        ot = from_level[row] <= OT_LEVEL or to_level[row] <= OT_LEVEL or industrial[act]
        place = (np.int64(ot) if to_inside[row] else _TO_OUTSIDE) if from_inside[row] else _FROM_OUTSIDE
        stratum[row] = of_class * _PLACES + place
        bonus[row] = bonuses[act] + (CROSSING_BONUS if crossing[row] else 0.0)
        moves[row] = (of_class >= ACT or footholds[act]) and to_inside[row] and not to_group[row]


class Enrich:
    """Adds what is known of hosts, services and operations to units.

    Args:
        plant: zones, levels and conduits as declared.
    """

    def __init__(self, plant: Plant) -> None:
        self._permits = lru_cache(_MOST_WAYS)(plant.permits)
        self._enforced = {zone.name for zone in plant.zones if zone.enforced}
        self._zones = {zone.name for zone in plant.zones if plant.conduits or self._enforced}
        self._conduits = Conduits(plant)
        self._declared = Declared(plant)
        self._hosts = KnownHosts(Hosts(plant), self._declared)
        self._acts = KnownActs()

    def __call__(self, units: Rows) -> Rows:
        """Units plus ``{orig,resp}_{zone,level,inside,group,named}``, ``technique``, ``consequence``, ``bonus``,
        ``crossing``, ``permitted`` (1: both ends are in one zone or a conduit permits it; 0; `UNASKED`: no end is in a
        declared zone, or no conduit is declared and no zone enforced), ``violation`` (not permitted, into or out of
        an enforced zone), ``stratum``, ``moves`` (whether an intruder could have moved by it), ``session`` (somebody
        works on the responder), and 64-bit keys of what the models count: ``{orig,resp}_id``, ``{orig,resp}_device``,
        ``{orig,resp}_zone_id``, ``service_id``, ``token_id`` (kind, service and operation), ``user_id`` (of the
        account's lower-case name; null without one). And what `declared.Declared` adds.
        """
        places, acts = self._hosts.places(units, ("orig_h", "resp_h")), self._acts(units)
        ends = places[: units.height], places[units.height :]
        here, there = self._sides(places)
        user_ids, vendors = self._users(units)
        crossing = self._crossing(units, here, there)
        permitted = self._permitted(units, here, there, acts)
        violation = self._violation(permitted, here, there)
        crossing |= violation
        bonus, stratum = np.empty(units.height, dtype=np.float64), np.empty(units.height, dtype=np.int32)
        moves = np.empty(units.height, dtype=np.bool_)
        sides = tuple(side[name] for side in (here, there) for name in ("level", "inside", "group"))
        _weigh(acts.places, tuple(map(acts.met, _WEIGHED)), sides, crossing, bonus, stratum, moves)
        added: dict[str, Column] = {
            "consequence": partial(acts.__getitem__, "consequence"),
            "technique": acts.techniques,
            "session": partial(acts.__getitem__, "session"),
            "token_id": acts["token"],
            "service_id": acts["service"],
            **{f"{end}_{name}": column for end, side in (("orig", here), ("resp", there))
               for name, column in side.items()},
            "bonus": bonus,
            "crossing": crossing,
            "permitted": permitted,
            "violation": violation,
            "user_id": user_ids,
            "stratum": stratum,
            "moves": moves,
            **self._declared(units, self._hosts.duties, ends, acts["work"], vendors, acts["touches"]),
        }  # fmt: skip
        return units.plus(added)

    def _sides(self, places: NDArray[np.int64]) -> tuple[Side, Side]:
        """What is known of the hosts at both ends; places of originators, then of responders."""
        known = tuple(self._hosts[name] for name in _OF_HOSTS)
        found = tuple(np.empty(places.size, dtype=column.dtype) for column in known)
        _spread(places, known, found)
        half = places.size // 2
        here: Side = {name: column[:half] for name, column in zip(_OF_HOSTS, found, strict=True)}
        there: Side = {name: column[half:] for name, column in zip(_OF_HOSTS, found, strict=True)}
        for side in (here, there):
            side["zone"] = Coded(side["zone"], self._hosts.zones)
        return here, there

    def _users(self, units: Rows) -> tuple[Keys, NDArray[np.int64]]:
        """Keys of the accounts, and whose vendors they are."""
        codes, names = units.coded("user")
        if all(name is None for name in names):
            return np.full(units.height, ABSENT["user_id"], dtype=np.uint64), np.full(units.height, NONE)
        lower = pl.Series(names, dtype=pl.String).str.to_lowercase()
        ids = np.where(lower.is_null().to_numpy(), np.uint64(ABSENT["user_id"]), text_keys(lower))
        return ids[codes], np.array([self._declared.account(name) for name in lower.to_list()])[codes]

    def _crossing(self, units: Rows, here: Side, there: Side) -> NDArray[np.bool_]:
        """Far jumps that no conduit permits; an operation is judged by the service that carries it."""
        crossing = np.zeros(units.height, dtype=np.bool_)
        far = np.flatnonzero(np.abs(here["level"] - there["level"]) > 1)
        if far.size:
            by_service, names = units.coded("service")
            ways = (here["zone"].codes, there["zone"].codes, units.array("kind"), by_service, units.array("resp_p"))
            told = zip(*(column[far].tolist() for column in ways), strict=True)
            zones = self._hosts.zones
            crossing[far] = [
                not self._permits(
                    zones[begin], zones[end], _carrier(port) if kind == OPERATION_KIND else names[service]
                )
                for begin, end, kind, service, port in told
            ]
        return crossing

    def _permitted(self, units: Rows, here: Side, there: Side, acts: Acts) -> NDArray[np.int8]:
        """What conduits say of each row."""
        permitted = np.full(units.height, UNASKED, dtype=np.int8)
        if not self._zones:
            return permitted
        begin, end = here["zone"], there["zone"]
        declared = np.array([name in self._zones for name in begin.names], dtype=np.bool_)
        told = (declared[begin.codes] | declared[end.codes]) & ~there["group"]
        permitted[told] = 1
        asked = np.flatnonzero(told & (begin.codes != end.codes))
        if asked.size:
            ends = Coded(begin.codes[asked], begin.names), Coded(end.codes[asked], end.names)
            keys = mix_all(mix_all(here["zone_id"][asked], there["zone_id"][asked]), acts["way"][asked])
            permitted[asked] = self._conduits.unit_permitted(units.at(asked), *ends, keys)
        return permitted

    def _violation(self, permitted: NDArray[np.int8], here: Side, there: Side) -> NDArray[np.bool_]:
        """What no conduit permits into or out of an enforced zone."""
        begin, end = here["zone"], there["zone"]
        enforced = np.array([name in self._enforced for name in begin.names], dtype=np.bool_)
        violation: NDArray[np.bool_] = (permitted == 0) & (enforced[begin.codes] | enforced[end.codes])
        return violation


def _carrier(port: int) -> str:
    return services.carrier(None if port == ABSENT["resp_p"] else port)

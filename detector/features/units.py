"""Units: one row a conversation or a protocol act, with the keys, the stratum and the prior bonus its score needs."""

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from detector.assets import services
from detector.assets.hosts import OT_LEVEL, OUTSIDE, Hosts
from detector.assets.operations import facts
from detector.assets.plant import Plant
from detector.features.declared import Declared
from detector.features.known import KnownHosts
from detector.state.keys import coded, text_keys, whole

FLOW_KIND, ATTEMPT_KIND, OPERATION_KIND = 0, 1, 2
KINDS: Final = ("connection", "attempt", "operation")
PLACES: Final = ("inside IT", "OT", "from outside", "to outside")
CLASSES: Final = ("connection", "attempt", "chatter", "act", "move")
"""Chatter and acts are operations without and with a known meaning to an attacker; moves are connections to
services that give a foothold, to controllers, or across levels without a conduit."""
_CONNECTION, _ATTEMPT, _CHATTER, _ACT, _MOVE = range(len(CLASSES))
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
_PORTS: Final = 1 << 17  # room for any port and none
_NO_PORT: Final = _PORTS - 1

# Prior log-odds in nats that a first-ever act of this kind is an attacker's; added once, to the first time only.
MOVE_BONUS: Final = 3.0  # odds x 20: services that give a foothold on arrival
ACT_BONUS: Final = 5.0  # times the operation's weight, see assets.operations
ACT_WEIGHT: Final = 0.2  # operations from this weight on (log-ons, admin shares) are acts, the rest is chatter
CROSSING_BONUS: Final = 3.0  # odds x 20 for a jump over a Purdue level that no conduit permits

_ANY_PORT: Final = "tcp/high"  # nobody knows what it is, so it may be a foothold
MOST_ACTS: Final = 1 << 16  # looked up and kept, as are ways between zones; no result depends on it
COMMON: Final = (
    "ts", "obs_ts", "uid", "orig_h", "orig_p", "resp_h", "resp_p", "log", "source", "position", "late",
)  # fmt: skip


def flow_units(flows: pl.DataFrame) -> pl.DataFrame:
    """Oriented flows as units: `COMMON` plus ``proto``, ``service``, ``kind``, ``operation``, ``object``, ``user``,
    ``outcome``, ``orig_bytes``, ``resp_bytes``, ``duration`` (seconds), ``guessed``."""
    return flows.select(
        *COMMON,
        proto="proto",
        service=_services(flows),
        kind=pl.Series(np.where(_answered(flows), FLOW_KIND, ATTEMPT_KIND), dtype=pl.Int32),
        operation=pl.lit(None, pl.String),
        object=pl.lit(None, pl.String),
        user=pl.lit(None, pl.String),
        outcome=pl.lit(None, pl.String),
        orig_bytes="orig_bytes",
        resp_bytes="resp_bytes",
        duration="duration",
        guessed="guessed",
    )


def _services(flows: pl.DataFrame) -> pl.Series:
    """The service of each row, worked out once a protocol and port."""
    protos, names = coded(flows["proto"])
    ports = whole(flows["resp_p"], _NO_PORT)
    pairs, codes = np.unique(protos * _PORTS + ports, return_inverse=True)
    tokens = [_token(names[pair // _PORTS], pair % _PORTS) for pair in pairs.tolist()]
    return pl.DataFrame({"service": pl.Series(tokens, dtype=pl.String)})[codes].to_series()


def _token(proto: str | None, port: int) -> str:
    """Tables without a protocol column hold TCP more often than not."""
    return services.token(proto or "tcp", None if port == _NO_PORT else port)


def operation_units(operations: pl.DataFrame) -> pl.DataFrame:
    """Operations as units, same columns as `flow_units`."""
    return operations.select(
        *COMMON,
        proto=pl.lit(None, pl.String),
        service="protocol",
        kind=pl.lit(OPERATION_KIND),
        operation="operation",
        object="object",
        user="user",
        outcome="outcome",
        orig_bytes=pl.lit(None, pl.Int64),
        resp_bytes=pl.lit(None, pl.Int64),
        duration=pl.lit(None, pl.Float64),
        guessed=pl.lit(False),
    )


def _answered(flows: pl.DataFrame) -> NDArray[np.bool_]:
    """Whether both sides spoke. Unanswered UDP and rejected TCP are evidence of scanning, not edges. Most states of
    Zeek say it."""
    codes, states = coded(flows["conn_state"])
    told = states.to_list()
    answered = np.array([state in ESTABLISHED_STATES for state in told])[codes]
    open_ = np.flatnonzero(np.array([state is None or state in _OPEN_STATES for state in told])[codes])
    if open_.size:
        answered[open_] = flows.select(_EVIDENCE)[open_].select(_established()).to_series().to_numpy()
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


class Act(NamedTuple):
    """What is known of a kind, service and operation.

    Attributes:
        token, service: texts that have keys; null as the service is.
        bonus: nats.  consequence: class of OT, 0 for IT.
        stratum_class, crossing_class: place in `CLASSES`, and where it crosses levels without a conduit.
        foothold: whether an intruder could move by it, wherever it leads.
        session: whether somebody works on the responder.
        work: kinds of known server (bits, see `declared.Declared`) whose work it is.
    """

    token: str | None
    service: str | None
    bonus: float
    consequence: int
    technique: str | None
    stratum_class: int
    crossing_class: int
    foothold: bool
    industrial: bool
    session: bool
    work: int


@lru_cache(MOST_ACTS)
def act(kind: int, service: str | None, operation: str | None) -> Act:
    """Look everything up."""
    bonus, consequence, technique = _meaning(service, operation)
    meant = bonus >= ACT_BONUS * ACT_WEIGHT or consequence > 0
    calm, strange = {FLOW_KIND: (_CONNECTION, _MOVE), OPERATION_KIND: (_CHATTER, _ACT)}.get(kind, (_ATTEMPT, _ATTEMPT))
    return Act(
        token=None if service is None else f"{kind} {service} {operation or ''}",
        service=service,
        bonus=bonus,
        consequence=consequence,
        technique=technique,
        stratum_class=strange if meant else calm,
        crossing_class=strange,
        foothold=kind == FLOW_KIND and service == _ANY_PORT,
        industrial=service in services.OT_SERVICES,
        session=service in services.SESSION_SERVICES and kind != ATTEMPT_KIND,
        work=Declared.work(operation),
    )


def _meaning(service: str | None, operation: str | None) -> tuple[float, int, str | None]:
    """Bonus in nats, consequence class (0 for IT), technique."""
    if service is None:
        return 0.0, 0, None
    if operation is None:
        technique = services.INTERACTIVE_SERVICES.get(service)
        if service in services.OT_SERVICES:
            return MOVE_BONUS, 0, "T0886"
        return (MOVE_BONUS if technique else 0.0), 0, technique
    known = facts(service, operation)
    return ACT_BONUS * known.weight, known.consequence or 0, known.technique


_ACT_FIELDS: Final = {
    "token": pl.String(), "service": pl.String(), "bonus": pl.Float64(), "consequence": pl.Int64(),
    "technique": pl.String(), "stratum_class": pl.Int64(), "crossing_class": pl.Int64(), "foothold": pl.Boolean(),
    "industrial": pl.Boolean(), "session": pl.Boolean(), "work": pl.Int64(),
}  # fmt: skip


class Acts:
    """The acts of all rows of ``units``, by the name of their field in `Act`: numbers as `numbers` gives them."""

    def __init__(self, units: pl.DataFrame) -> None:
        by_service, names = coded(units["service"])
        by_operation, operations = coded(units["operation"])
        kinds = units["kind"].to_numpy().astype(np.int64)
        rows = (kinds * len(names) + by_service) * len(operations) + by_operation
        distinct, self._codes = np.unique(rows, return_inverse=True)
        rest, operation = np.divmod(distinct, len(operations))
        kind, service = np.divmod(rest, len(names))
        service_of, operation_of = names.to_list(), operations.to_list()
        told = zip(kind.tolist(), service.tolist(), operation.tolist(), strict=True)
        acts = [act(one, service_of[where], operation_of[what]) for one, where, what in told]
        self._table = pl.DataFrame(acts, schema=_ACT_FIELDS, orient="row")

    def __getitem__(self, name: str) -> NDArray[Any]:
        """A field of numbers, one a row."""
        told: NDArray[Any] = self._table[name].to_numpy()[self._codes]
        return told

    def columns(self) -> pl.DataFrame:
        """``consequence``, ``technique``, ``session``, ``token_id``, ``service_id``, one row a unit."""
        ids = {f"{name}_id": pl.Series(text_keys(self._table[name])) for name in ("token", "service")}
        told: pl.DataFrame = self._table.select("consequence", "technique", "session", **ids)[self._codes]
        return told


Side = dict[str, Any]
"""What is known of the hosts at one end, by name of the column."""


class Enrich:
    """Adds what is known of hosts, services and operations to units.

    Args:
        plant: zones, levels and conduits as declared.
    """

    def __init__(self, plant: Plant) -> None:
        self._permits = lru_cache(MOST_ACTS)(plant.permits)
        self._declared = Declared(plant)
        self._hosts = KnownHosts(Hosts(plant), self._declared)

    def __call__(self, units: pl.DataFrame) -> pl.DataFrame:
        """Units plus ``{orig,resp}_{zone,level,inside,group}``, ``technique``, ``consequence``, ``bonus``,
        ``crossing``, ``stratum``, ``moves`` (whether an intruder could have moved by it), ``session`` (somebody
        works on the responder), and 64-bit keys of what the models count: ``{orig,resp}_id``,
        ``{orig,resp}_zone_id``, ``service_id``, ``token_id`` (kind, service and operation), ``user_id`` (of the
        account's lower-case name; null without one). And what `declared.Declared` adds."""
        orig, resp = np.split(self._hosts.places(pl.concat([units["orig_h"], units["resp_h"]])), 2)
        here, there, acts = self._side(orig), self._side(resp), Acts(units)
        user_ids, vendors = self._users(units["user"])
        crossing = self._crossing(units, here, there)
        of_class = np.where(crossing, acts["crossing_class"], acts["stratum_class"])
        foothold = (of_class >= _ACT) | acts["foothold"]
        duties = self._hosts.duties
        added = {
            **{f"{end}_{name}": column for end, side in (("orig", here), ("resp", there))
               for name, column in side.items()},
            "bonus": acts["bonus"] + np.where(crossing, CROSSING_BONUS, 0.0),
            "crossing": crossing,
            "user_id": user_ids,
            "stratum": pl.Series(of_class * len(PLACES) + _place(here, there, acts["industrial"]), dtype=pl.Int32),
            "moves": foothold & there["inside"] & ~there["group"],
            **self._declared(units, duties[orig], duties[resp], acts["work"], vendors),
        }  # fmt: skip
        levels = [pl.col(f"{end}_level").fill_nan(None) for end in ("orig", "resp")]
        return pl.concat([units, acts.columns(), pl.DataFrame(added).with_columns(levels)], how="horizontal")

    def _side(self, places: NDArray[np.int64]) -> Side:
        """What is known of the hosts at one end."""
        known = {name: self._hosts[name][places] for name in ("level", "inside", "group", "id", "zone_id")}
        return {"zone": self._hosts.zones[self._hosts["zone"][places]], **known}

    def _users(self, users: pl.Series) -> tuple[pl.Series, NDArray[np.int64]]:
        """Keys of the accounts (null without one), and whose vendors they are."""
        codes, distinct = coded(users)
        lower = distinct.str.to_lowercase()
        none = codes == len(distinct) - 1
        ids = pl.Series(pa.array(text_keys(lower)[codes], mask=none))
        return ids, np.array([self._declared.account(name) for name in lower.to_list()])[codes]

    def _crossing(self, units: pl.DataFrame, here: Side, there: Side) -> NDArray[np.bool_]:
        """Far jumps that no conduit permits; an operation is judged by the service that carries it."""
        far = np.flatnonzero(np.abs(here["level"] - there["level"]) > 1)
        acts = units.select("kind", "service", "resp_p")[far].iter_rows()
        ways = zip(here["zone"][far].to_list(), there["zone"][far].to_list(), acts, strict=True)
        crossing = np.zeros(units.height, dtype=np.bool_)
        crossing[far] = [
            not self._permits(begin, end, services.carrier(port) if kind == OPERATION_KIND else service)
            for begin, end, (kind, service, port) in ways
        ]
        return crossing


def _place(here: Side, there: Side, industrial: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Index of `PLACES`."""
    ot = (here["level"] <= OT_LEVEL) | (there["level"] <= OT_LEVEL) | industrial
    inside = np.where(there["inside"], ot, 3)
    place: NDArray[np.int64] = np.where(here["inside"], inside, 2)
    return place

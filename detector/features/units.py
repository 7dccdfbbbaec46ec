"""Units: one row a conversation or a protocol act, with the keys, the stratum and the prior bonus its score needs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.assets import services
from detector.assets.hosts import OT_LEVEL, OUTSIDE, Hosts
from detector.assets.operations import facts
from detector.assets.plant import Plant
from detector.features.declared import Declared
from detector.state.keys import Keys, coded, distinct_keys, text_keys

FLOW_KIND, ATTEMPT_KIND, OPERATION_KIND = 0, 1, 2
KINDS: Final = ("connection", "attempt", "operation")
PLACES: Final = ("inside IT", "OT", "from outside", "to outside")
CLASSES: Final = ("connection", "attempt", "chatter", "act", "move")
"""Chatter and acts are operations without and with a known meaning to an attacker; moves are connections to
services that
give a foothold, to controllers, or across levels without a conduit."""
PLACE_INTEREST: Final = (4.0, 2.0, 0.5, 0.5)
"""How much of the attention a place deserves: lateral movement shows inside and towards OT. Rows are compared within
strata; stratum = class * len(PLACES) + place."""

ESTABLISHED_STATES: Final = ("SF", "S1", "S2", "S3", "RSTO", "RSTR")
"""Zeek conn_state values in which both sides spoke; S0, REJ, RSTOS0, SH, SHR, RSTRH are attempts; OTH is
judged by packets."""

# Prior log-odds in nats that a first-ever act of this kind is an attacker's; added once, to the first time only.
MOVE_BONUS: Final = 3.0  # odds x 20: services that give a foothold on arrival
ACT_BONUS: Final = 5.0  # times the operation's weight, see assets.operations
ACT_WEIGHT: Final = 0.2  # operations from this weight on (log-ons, admin shares) are acts, the rest is chatter
CROSSING_BONUS: Final = 3.0  # odds x 20 for a jump over a Purdue level that no conduit permits

MOST_KNOWN: Final = 1 << 20  # hosts looked up and kept, as many as `assets.hosts` keeps; no result depends on it
_NO_OPERATION: Final = "\0"  # tells none from an empty one while acts are looked up; no operation holds controls
COMMON: Final = (
    "ts", "obs_ts", "uid", "orig_h", "orig_p", "resp_h", "resp_p", "log", "source", "position", "late",
)  # fmt: skip


def flow_units(flows: pl.DataFrame) -> pl.DataFrame:
    """Oriented flows as units: `COMMON` plus ``service``, ``kind``, ``operation``, ``object``, ``user``, ``outcome``,
    ``orig_bytes``, ``resp_bytes``, ``duration`` (seconds), ``guessed``."""
    ports = _mapped(flows, ("proto", "resp_p"), _token, "service")
    return ports.select(
        *COMMON,
        "service",
        kind=pl.when(_established()).then(FLOW_KIND).otherwise(ATTEMPT_KIND),
        operation=pl.lit(None, pl.String),
        object=pl.lit(None, pl.String),
        user=pl.lit(None, pl.String),
        outcome=pl.lit(None, pl.String),
        orig_bytes="orig_bytes",
        resp_bytes="resp_bytes",
        duration="duration",
        guessed="guessed",
    )


def _token(proto: str | None, port: int | None) -> str:
    """Tables without a protocol column hold TCP more often than not."""
    return services.token(proto or "tcp", port)


def operation_units(operations: pl.DataFrame) -> pl.DataFrame:
    """Operations as units, same columns as `flow_units`."""
    return operations.select(
        *COMMON,
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


def _established() -> pl.Expr:
    """Whether both sides spoke. Unanswered UDP and rejected TCP are evidence of scanning, not edges."""
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
        pl.when(pl.col("conn_state").is_in(list(ESTABLISHED_STATES)))
        .then(True)
        .when((pl.col("conn_state") == "OTH") | ((pl.col("conn_state") == "SHR") & (pl.col("proto") != "tcp")))
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


def _mapped(frame: pl.DataFrame, on: Sequence[str], value: Callable[..., Any], name: str) -> pl.DataFrame:
    """``frame`` with column ``name`` = ``value`` of the columns ``on``, computed once per distinct combination."""
    distinct = frame.select(on).unique(maintain_order=True)
    named = distinct.with_columns(pl.Series(f"_{name}", [value(*row) for row in distinct.iter_rows()], pl.String))
    joined = frame.join(named, on=list(on), how="left", nulls_equal=True, maintain_order="left")
    return joined.with_columns(pl.col(f"_{name}").alias(name)).drop(f"_{name}")


class Enrich:
    """Adds what is known of hosts, services and operations to units.

    Args:
        plant: zones, levels and conduits as declared.
    """

    def __init__(self, plant: Plant) -> None:
        self.hosts = Hosts(plant)
        self._plant = plant
        self._declared = Declared(plant)
        self._place: dict[str, int] = {}  # of an address in the table of hosts
        self._known = self._table([])

    def __call__(self, units: pl.DataFrame) -> pl.DataFrame:
        """Units plus ``{orig,resp}_{key,zone,level,inside,group}``, ``technique``, ``consequence``, ``bonus``,
        ``crossing``, ``stratum``, ``moves`` (whether an intruder could have moved by it), ``session`` (somebody
        works on the responder), and 64-bit keys of what the models count: ``{orig,resp}_id``,
        ``{orig,resp}_zone_id``, ``service_id``, ``token_id`` (kind, service and operation), ``user_id`` (of the
        account's lower-case name; null without one). And what `declared.Declared` adds."""
        for side in ("orig", "resp"):
            units = self._with_host(units, side)
        units = self._with_act(units)
        units = self._with_crossing(units)
        units = self._declared(units)
        crossing = pl.when("crossing").then(CROSSING_BONUS).otherwise(0.0)
        return _with_user_id(units).with_columns(
            bonus=pl.col("bonus") + crossing,
            stratum=_class() * len(PLACES) + _place(),
            moves=((_class() >= 3) | ((pl.col("kind") == FLOW_KIND) & (pl.col("service") == "tcp/high")))
            & pl.col("resp_inside")
            & ~pl.col("resp_group"),
            session=pl.col("service").is_in(sorted(services.SESSION_SERVICES)) & (pl.col("kind") != ATTEMPT_KIND),
        )

    def _with_host(self, units: pl.DataFrame, side: str) -> pl.DataFrame:
        codes, distinct = coded(units[f"{side}_h"])
        places = self._places(distinct[:-1].to_list())[codes]
        return units.hstack(self._known[places].rename(lambda name: f"{side}_{name}"))

    def _places(self, addresses: list[str]) -> NDArray[np.int64]:
        """Rows of the table of hosts; those met for the first time are added. A full table begins anew."""
        new = [address for address in addresses if address not in self._place]
        if len(self._place) + len(new) > MOST_KNOWN:
            self._place, self._known, new = {}, self._table([]), addresses
        if new:
            self._place.update(zip(new, range(len(self._place), len(self._place) + len(new)), strict=True))
            self._known.extend(self._table(new))
        return np.array([self._place[address] for address in addresses], dtype=np.int64)

    def _table(self, addresses: Sequence[str]) -> pl.DataFrame:
        hosts = [self.hosts[address] for address in addresses]
        key = pl.Series([host.key for host in hosts], dtype=pl.String)
        zone = pl.Series([host.zone for host in hosts], dtype=pl.String)
        return pl.DataFrame(
            {
                "key": key,
                "zone": zone,
                "level": pl.Series([host.level for host in hosts], dtype=pl.Float64),
                "inside": pl.Series([host.inside for host in hosts], dtype=pl.Boolean),
                "group": pl.Series([host.group for host in hosts], dtype=pl.Boolean),
                **_unsigned({"id": distinct_keys(key), "zone_id": distinct_keys(zone)}),
            }
        )

    def _with_act(self, units: pl.DataFrame) -> pl.DataFrame:
        operation = pl.col("operation").fill_null(_NO_OPERATION)
        token = pl.concat_str(pl.col("kind").cast(pl.String), pl.col("service"), operation, separator=" ")
        codes, distinct = coded(units.select(token=token)["token"])
        first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1) > 0)
        kinds = units[first].select("service", "operation")
        acts = [self._act(service, operation) for service, operation in kinds.iter_rows()]
        table = pl.DataFrame(
            {
                "bonus": pl.Series([act[0] for act in acts], dtype=pl.Float64),
                "consequence": pl.Series([act[1] for act in acts], dtype=pl.Int64),
                "technique": pl.Series([act[2] for act in acts], dtype=pl.String),
            }
        )
        texts = distinct[:-1].str.strip_suffix(_NO_OPERATION)
        ids = {"token_id": distinct_keys(texts), "service_id": distinct_keys(kinds["service"])}
        return units.hstack(table.with_columns(**_unsigned(ids))[codes])

    def _act(self, service: str, operation: str | None) -> tuple[float, int, str | None]:
        """Bonus in nats, consequence class (0 for IT), technique."""
        if operation is None:
            technique = services.INTERACTIVE_SERVICES.get(service)
            if service in services.OT_SERVICES:
                return MOVE_BONUS, 0, "T0886"
            return (MOVE_BONUS if technique else 0.0), 0, technique
        known = facts(service, operation)
        return ACT_BONUS * known.weight, known.consequence or 0, known.technique

    def _with_crossing(self, units: pl.DataFrame) -> pl.DataFrame:
        """Far jumps that no conduit permits; an operation is judged by the service that carries it."""
        far = ((units["orig_level"] - units["resp_level"]).abs() > 1).fill_null(False).arg_true()
        crossing = np.zeros(units.height, dtype=np.bool_)
        if len(far):
            crossing[far.to_numpy()] = self._forbidden(units[far])
        return units.with_columns(crossing=pl.Series(crossing))

    def _forbidden(self, jumps: pl.DataFrame) -> NDArray[np.bool_]:
        routes = ["orig_zone", "resp_zone", "kind", "service", "resp_p"]
        distinct = jumps.select(routes).unique(maintain_order=True)
        forbidden = [
            not self._plant.permits(here, there, services.carrier(port) if kind == OPERATION_KIND else service)
            for here, there, kind, service, port in distinct.iter_rows()
        ]
        table = distinct.with_columns(forbidden=pl.Series(forbidden, dtype=pl.Boolean))
        joined = jumps.select(routes).join(table, on=routes, how="left", nulls_equal=True, maintain_order="left")
        return joined["forbidden"].to_numpy()


def _with_user_id(units: pl.DataFrame) -> pl.DataFrame:
    codes, distinct = coded(units["user"])
    ids = pl.Series(distinct_keys(distinct.str.to_lowercase())).set(distinct.is_null(), None)
    return units.with_columns(user_id=ids[codes])


def _unsigned(ids: Mapping[str, Keys]) -> dict[str, pl.Series]:
    return {name: pl.Series(keys, dtype=pl.UInt64) for name, keys in ids.items()}


def _class() -> pl.Expr:
    meant = (pl.col("bonus") >= ACT_BONUS * ACT_WEIGHT) | (pl.col("consequence") > 0) | pl.col("crossing")
    return (
        pl.when(pl.col("kind") == ATTEMPT_KIND)
        .then(1)
        .when(pl.col("kind") == OPERATION_KIND)
        .then(pl.when(meant).then(3).otherwise(2))
        .otherwise(pl.when(meant).then(4).otherwise(0))
    )


def _place() -> pl.Expr:
    ot = (
        (pl.col("orig_level") <= OT_LEVEL)
        | (pl.col("resp_level") <= OT_LEVEL)
        | pl.col("service").is_in(sorted(services.OT_SERVICES))
    ).fill_null(False)
    return pl.when(~pl.col("orig_inside")).then(2).when(~pl.col("resp_inside")).then(3).when(ot).then(1).otherwise(0)

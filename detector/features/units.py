"""Units: one row a conversation or a protocol act, with the keys, the stratum and the prior bonus its score needs."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import polars as pl

from detector.assets import services
from detector.assets.hosts import OT_LEVEL, OUTSIDE, Hosts
from detector.assets.operations import facts
from detector.assets.plant import Plant
from detector.features.declared import Declared
from detector.state.keys import text_keys

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
        self._acts: dict[tuple[str, str | None], tuple[float, int, str | None]] = {}

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
        return _with_ids(units).with_columns(
            bonus=pl.col("bonus") + crossing,
            stratum=_class() * len(PLACES) + _place(),
            moves=((_class() >= 3) | ((pl.col("kind") == FLOW_KIND) & (pl.col("service") == "tcp/high")))
            & pl.col("resp_inside")
            & ~pl.col("resp_group"),
            session=pl.col("service").is_in(sorted(services.SESSION_SERVICES)) & (pl.col("kind") != ATTEMPT_KIND),
        )

    def _with_host(self, units: pl.DataFrame, side: str) -> pl.DataFrame:
        distinct = units[f"{side}_h"].unique(maintain_order=True)
        known = [self.hosts[address] for address in distinct]
        table = pl.DataFrame(
            {
                f"{side}_h": distinct,
                f"{side}_key": pl.Series([host.key for host in known], dtype=pl.String),
                f"{side}_zone": pl.Series([host.zone for host in known], dtype=pl.String),
                f"{side}_level": pl.Series([host.level for host in known], dtype=pl.Float64),
                f"{side}_inside": pl.Series([host.inside for host in known], dtype=pl.Boolean),
                f"{side}_group": pl.Series([host.group for host in known], dtype=pl.Boolean),
            }
        )
        return units.join(table, on=f"{side}_h", how="left", maintain_order="left")

    def _with_act(self, units: pl.DataFrame) -> pl.DataFrame:
        distinct = units.select("service", "operation").unique(maintain_order=True)
        acts = [self._act(service, operation) for service, operation in distinct.iter_rows()]
        table = distinct.with_columns(
            bonus=pl.Series([act[0] for act in acts], dtype=pl.Float64),
            consequence=pl.Series([act[1] for act in acts], dtype=pl.Int64),
            technique=pl.Series([act[2] for act in acts], dtype=pl.String),
        )
        return units.join(table, on=["service", "operation"], how="left", nulls_equal=True, maintain_order="left")

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
        far = ((pl.col("orig_level") - pl.col("resp_level")).abs() > 1).fill_null(False)
        routes = ["orig_zone", "resp_zone", "kind", "service", "resp_p"]
        jumps = units.filter(far).select(routes).unique(maintain_order=True)
        if jumps.is_empty():
            return units.with_columns(crossing=pl.lit(False))
        crossing = [
            not self._plant.permits(here, there, services.carrier(port) if kind == OPERATION_KIND else service)
            for here, there, kind, service, port in jumps.iter_rows()
        ]
        forbidden = jumps.with_columns(crossing=pl.Series(crossing, dtype=pl.Boolean))
        joined = units.join(forbidden, on=routes, how="left", nulls_equal=True, maintain_order="left")
        return joined.with_columns(pl.col("crossing").fill_null(False))


def _with_ids(units: pl.DataFrame) -> pl.DataFrame:
    token = pl.concat_str(
        pl.col("kind").cast(pl.String), pl.col("service"), pl.col("operation").fill_null(""), separator=" "
    )
    texts = units.select(
        orig_id="orig_key",
        resp_id="resp_key",
        orig_zone_id="orig_zone",
        resp_zone_id="resp_zone",
        service_id="service",
        token_id=token,
        user_id=pl.col("user").str.to_lowercase(),
    )
    ids = {name: pl.Series(name, text_keys(texts[name]), pl.UInt64) for name in texts.columns}
    ids["user_id"] = ids["user_id"].set(texts["user_id"].is_null(), None)
    return units.with_columns(**ids)


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

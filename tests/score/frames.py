"""Hand-made rows in the shape `features.units.Enrich` makes them, and models that learn them."""

import itertools

import numpy as np
import polars as pl

from detector.assets.plant import Plant
from detector.features.acts import ATTEMPT_KIND, FLOW_KIND, OPERATION_KIND
from detector.features.units import COMMON, Enrich
from detector.records import FLOW
from detector.rows import Rows
from detector.score.columns import Columns
from detector.score.scorer import Scorer
from tests.score.reference import HOUR_US

MONDAY = 1_767_571_200_000_000  # 2026-01-05 00:00 UTC, µs
STRATA = 40  # newcomers have strata of their own
PLANT = Plant.model_validate(
    {
        "zones": [
            {"name": "office", "purdue_level": 4, "cidrs": ["10.4.0.0/16"]},
            {"name": "servers", "purdue_level": 4, "cidrs": ["10.5.0.0/16"]},
            {"name": "control", "purdue_level": 2, "cidrs": ["10.2.0.0/16"]},
            {"name": "cell", "purdue_level": 1, "cidrs": ["10.1.0.0/16"]},
        ],
        "vendors": [{"name": "maker", "account": "user4", "windows": [{"start": "08:00", "end": "20:00"}]}],
    }
)
_UNITS = {name: FLOW.get(name, pl.Boolean()) for name in COMMON} | {
    "proto": pl.String(),
    "service": pl.String(),
    "kind": pl.Int32(),
    "operation": pl.String(),
    "object": pl.String(),
    "user": pl.String(),
    "outcome": pl.String(),
    "orig_bytes": pl.Int64(),
    "resp_bytes": pl.Int64(),
    "duration": pl.Float64(),
    "guessed": pl.Boolean(),
}


def desk(number):
    return f"10.4.{number // 200}.{1 + number % 200}"


def server(number):
    return f"10.5.0.{1 + number}"


def station(number):
    return f"10.2.0.{1 + number}"


def controller(number):
    return f"10.1.0.{1 + number}"


def row(hour, orig, resp, service="smb", **more):
    """A row at an hour since `MONDAY`; an ``operation`` or ``kind`` makes it other than a connection."""
    time = MONDAY + round(hour * HOUR_US)
    kind = OPERATION_KIND if more.get("operation") else FLOW_KIND
    told = {"ts": time, "obs_ts": time, "uid": "C1", "orig_h": orig, "orig_p": 50_000, "resp_h": resp, "resp_p": 445}
    told |= {"log": "zeek", "source": "x", "position": 1, "late": False, "guessed": False}
    return {**dict.fromkeys(_UNITS), **told, "service": service, "kind": kind, **more}


def units(rows, plant=PLANT):
    """Rows as the scorer takes them; ``teach`` rows only teach."""
    bare = [{name: value for name, value in one.items() if name != "teach"} for one in rows]
    teach = pl.Series("teach", [one.get("teach", False) for one in rows], dtype=pl.Boolean)
    return Enrich(plant)(Rows.of(pl.DataFrame(bare, schema=_UNITS))).frame().with_columns(teach)


def enriched(rows, plant=PLANT):
    """Rows as models take them: roles are the zones, and all rows are news."""
    frame = units(rows, plant)
    return frame.with_columns(orig_role="orig_zone_id", resp_role="resp_zone_id", p_structure=pl.lit(0.5))


def scored(model, rows, cuts=()):
    """What a model says of rows, in batches that end at ``cuts``."""
    frame = rows if isinstance(rows, pl.DataFrame) else enriched(rows)
    bounds = [0, *sorted(cuts), frame.height]
    return pl.concat([said(model, frame[low:high]) for low, high in itertools.pairwise(bounds)])


def said(model, frame):
    """Of a model its columns, of the scorer all."""
    return (
        model.score(Rows.of(frame)).frame() if isinstance(model, Scorer) else pl.DataFrame(model.score(Columns(frame)))
    )


class Trained:
    """A model after a history; each question is put to it as if no other had been."""

    def __init__(self, make, rows):
        self.make = make
        model = make()
        scored(model, rows)
        self.learned = {name: array.copy() for name, array in model.arrays().items()}

    def says(self, one):
        model = self.make()
        model.load(self.learned)
        return scored(model, [one]).row(0, named=True)


def same_state(left, right):
    left, right = left.arrays(), right.arrays()
    return left.keys() == right.keys() and all((array == right[name]).all() for name, array in left.items())


def life(count, seed, days=12.0, hosts=30):
    """Days of hosts with habits and some novelty: connections, attempts and operations with accounts, IT and OT."""
    rng = np.random.default_rng(seed)
    hours = np.sort(rng.uniform(0, 24 * days, count))
    late = np.where(rng.random(count) < 0.02, rng.uniform(0, 3, count), 0.0)
    kinds = ["smb", "https", "rdp", "attempt", "dce_rpc", "ntlm", "modbus"]
    who, whom, what = rng.zipf(1.5, count) % hosts, rng.zipf(1.7, count) % 6, rng.zipf(1.4, count) % len(kinds)
    rows = []
    for place in range(count):
        host, kind = int(who[place]), kinds[(int(what[place]) + int(who[place])) % len(kinds)]
        number, told = int(whom[place] + host) % 12, {"teach": bool(rng.random() < 0.05), "position": place}
        told |= {"orig_bytes": int(rng.integers(0, 10**6)), "resp_bytes": int(rng.integers(0, 10**6)), "duration": 1.5}
        user = f"user{host}" if rng.random() < 0.95 else f"user{number}"
        ends = (station(host % 4), controller(number)) if kind == "modbus" else (desk(host), server(number))
        act = {
            "attempt": {"service": "rdp", "kind": ATTEMPT_KIND},
            "dce_rpc": {"operation": str(rng.choice(["srvsvc::NetrShareEnum", "svcctl::CreateServiceW"]))},
            "ntlm": {"operation": "ok", "user": user},
            "modbus": {"operation": str(rng.choice(["READ_COILS", "WRITE_SINGLE_COIL"], p=[0.9, 0.1]))},
        }.get(kind, {})
        rows.append(row(hours[place] - late[place], *ends, **{"service": kind, **act, **told}))
    return rows

"""Hand-made rows in the shape `features.units.Enrich` makes them, and models that learn them."""

import itertools

import polars as pl

from detector.assets.plant import Plant
from detector.features.units import COMMON, FLOW_KIND, OPERATION_KIND, Enrich, flow_units
from detector.records import FLOW
from detector.state.keys import text_keys
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
    }
)
_UNITS = {name: FLOW.get(name, pl.Boolean()) for name in COMMON} | {
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


def enriched(rows, plant=PLANT):
    """Rows as models see them: ``teach`` rows only teach; roles are the zones, and all rows are news."""
    bare = [{name: value for name, value in one.items() if name != "teach"} for one in rows]
    units = Enrich(plant)(pl.DataFrame(bare, schema=_UNITS))
    return units.with_columns(
        teach=pl.Series([one.get("teach", False) for one in rows], dtype=pl.Boolean),
        orig_role=pl.Series(text_keys(units["orig_zone"]), dtype=pl.UInt64),
        resp_role=pl.Series(text_keys(units["resp_zone"]), dtype=pl.UInt64),
        p_structure=pl.lit(0.5),
    )


def scored(model, rows, cuts=()):
    """What a model says of rows, in batches that end at ``cuts``."""
    frame = rows if isinstance(rows, pl.DataFrame) else enriched(rows)
    bounds = [0, *sorted(cuts), frame.height]
    return pl.concat([model.score(frame[low:high]) for low, high in itertools.pairwise(bounds)])


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


def unit_schema_is_current():
    """Whether `row` still has the columns that flows become."""
    return flow_units(pl.DataFrame(schema=FLOW | {"late": pl.Boolean()})).columns == list(_UNITS)

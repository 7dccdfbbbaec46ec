"""What conduits said of a way is kept, and stays what they say."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.assets.plant import Plant
from detector.features import conduits as module
from detector.features.acts import FLOW_KIND, OPERATION_KIND, act
from detector.features.conduits import Conduits
from detector.rows import Coded, Rows
from detector.state.keys import mix_all, text_keys

DAY_US = 86_400_000_000
PLANT = Plant.model_validate(
    {
        "zones": [
            {"name": "office", "cidrs": ["10.1.0.0/16"]},
            {"name": "site", "cidrs": ["10.2.0.0/16"]},
            {"name": "cell", "cidrs": ["10.3.0.0/16"]},
        ],
        "conduits": [
            {"from": "office", "to": "site", "services": ["tcp/445", "tcp/5000-5010"]},
            {"from": "site", "to": "cell", "services": ["modbus"], "operations": ["read"]},
            {"from": "office", "to": "cell", "windows": [{"from": "08:00", "to": "10:00"}]},
        ],
    }
)
ZONES = ("office", "site", "cell", "10.9.0.0/24")
ACTS = (
    (FLOW_KIND, "tcp/445", None),
    (FLOW_KIND, "tcp/high", None),
    (OPERATION_KIND, "modbus", "read_coils"),
    (OPERATION_KIND, "modbus", "write_single_coil"),
    (OPERATION_KIND, None, "ping"),
)
PORTS = (None, 445, 502, 4999, 5000, 5010, 5011)
ROW = st.tuples(
    st.sampled_from(ZONES),
    st.sampled_from(ZONES),
    st.sampled_from(ACTS),
    st.sampled_from(PORTS),
    st.integers(0, DAY_US),
)


@settings(max_examples=60)
@given(batches=st.lists(st.lists(ROW, min_size=1, max_size=12), min_size=1, max_size=4))
@pytest.mark.parametrize("most", [module._MOST_WAYS, 3])
def test_what_was_said_of_a_way_is_what_is_said(most, batches):
    """Row by row from the file, and from what was kept, also when that begins anew."""
    kept, plain = Conduits(PLANT), Conduits(PLANT)
    kept._places._most = most
    for rows in batches:
        begin, end, acts, ports, times = zip(*rows, strict=True)
        kinds, services, operations = zip(*acts, strict=True)
        units = Rows.of(
            pl.DataFrame(
                {
                    "ts": pl.Series(times, dtype=pl.Int64),
                    "kind": pl.Series(kinds, dtype=pl.Int32),
                    "service": pl.Series(services, dtype=pl.String),
                    "operation": pl.Series(operations, dtype=pl.String),
                    "resp_p": pl.Series(ports, dtype=pl.Int32),
                }
            )
        )
        here, there = (Coded(np.array([ZONES.index(name) for name in names]), ZONES) for names in (begin, end))
        zone_keys = [text_keys(pl.Series(names)) for names in (begin, end)]
        keys = mix_all(mix_all(*zone_keys), np.array([act(*each).way for each in acts], dtype=np.uint64))
        told = kept.unit_permitted(units, here, there, keys)
        assert told.tolist() == plain.permitted(units, *plain.ways(units, here, there)).tolist()

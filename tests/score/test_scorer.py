"""All models together: what one row says depends on the rows before it and on nothing else."""

import functools

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.config import MODELS, Settings
from detector.engine import Engine
from detector.features.acts import ATTEMPT_KIND
from detector.rows import Rows
from detector.score.forest import JOINED
from detector.score.phases import PHASES
from tests.score.frames import PLANT, desk, life, row, same_state, scored, server, units

ROWS = 700
NEEDS = {"forest": JOINED[1:]}  # it sees what they say; structure is always there
SUBSETS = [pytest.param((*NEEDS.get(name, ()), name), id=name) for name in MODELS]
SUBSETS.append(pytest.param((), id="structure"))
FEW = settings(max_examples=4, suppress_health_check=[HealthCheck.too_slow])


def scorer(**wish):
    """As the engine makes it."""
    return Engine(Settings(**wish), PLANT).scorer


@functools.cache
def world():
    return units(life(ROWS, seed=1))


cuts = st.lists(st.integers(0, ROWS), max_size=5)


# --- what must not change its results ---


@given(cuts)
@FEW
def test_a_row_does_not_depend_on_its_batch(places):
    one, many = scorer(), scorer()
    assert scored(one, world()).equals(scored(many, world(), places))
    assert same_state(one, many)


def test_rows_one_by_one_are_scored_as_all_at_once():
    frame = world()[:150]
    one, many = scorer(), scorer()
    assert scored(one, frame).equals(scored(many, frame, range(1, frame.height)))
    assert same_state(one, many)


@given(cuts)
@settings(FEW, max_examples=2)
def test_full_tables_evict_at_the_same_row_whatever_the_batches(places):
    """Of every model that has one."""
    crowd = _crowd()
    places = [place * crowd.height // ROWS for place in places]
    one, many = scorer(max_entries=1000), scorer(max_entries=1000)
    assert scored(one, crowd).equals(scored(many, crowd, places))
    assert same_state(one, many)
    # Vendors are as many as the plant file names; the forest has a sample.
    arrays = {name: array for name, array in one.arrays().items() if not name.startswith("vendors.")}
    evicted = {name: int(array[0]) for name, array in arrays.items() if name.endswith("evicted")}
    tables = {"phases", *(model.name for model in one.models)} - {"vendors", "forest"}
    assert {name.split(".")[0] for name in evicted} >= tables
    assert all(evicted.values()), [name for name, count in evicted.items() if not count]


@functools.cache
def _crowd():
    """Ever new hosts, ways and accounts, so that a thousand entries are few for each model."""
    rows = []
    for number in range(3600):
        kind = number % 3
        there = f"10.{1 + number % 5}.{number // 200}.{1 + number % 200}"
        told = [
            {"service": "rdp"},
            {"service": "ntlm", "operation": "ok", "user": f"DESK{number}$"},
            {"service": "dce_rpc", "operation": f"svcctl::{number}"},
        ]
        rows.append(row(number / 20, desk(number), there, **told[kind]))
    return units(rows)


@given(st.integers(0, ROWS), cuts)
@FEW
def test_what_was_learned_survives_a_snapshot_at_any_cut(place, places):
    model, restored = scorer(), scorer()
    scored(restored, world()[: min(90, place)])  # what it had is replaced
    before, after = world()[:place], world()[place:]
    scored(model, before)
    restored.load({name: array.copy() for name, array in model.arrays().items()})
    assert same_state(model, restored)
    rest = [min(one, after.height) for one in places]
    assert scored(model, after).equals(scored(restored, after, rest))
    assert same_state(model, restored)


def test_the_order_in_which_models_are_named_changes_no_byte():
    plain = scorer()
    expected = scored(plain, world())
    for names in (tuple(reversed(MODELS)), (*MODELS[1:], MODELS[0])):
        other = scorer(models=names)
        assert scored(other, world()).equals(expected)
        assert same_state(plain, other)


@pytest.mark.parametrize("names", SUBSETS)
def test_a_model_says_the_same_whoever_else_is_asked(names):
    """Structure always is. What they say together may differ, what each says does not."""
    whole = scored(scorer(), world())
    part = scored(scorer(models=names), world())
    own = [name for name in part.columns if name in whole.columns and not name.startswith(_TOGETHER)]
    assert {"structure", "p_structure", *(f"p_{name}" for name in names)} <= set(own)
    assert part.select(own).equals(whole.select(own))
    assert not {f"p_{name}" for name in MODELS if name not in names} & set(part.columns)


_TOGETHER = ("fused", "p_value", "rows_per_day", "weight")


# --- what every model promises ---


def test_p_values_are_probabilities_and_models_speak():
    result = scored(scorer(), world())
    for name in ("p_value", *(f"p_{model}" for model in ("structure", *MODELS))):
        column = result[name]
        assert column.dtype == pl.Float64
        assert column.is_finite().all(), name
        assert 0 < column.min() <= column.max() <= 1, name
    for name in ("structure", "operations", "credentials", "timing", "crossing", "provenance"):  # others need weeks
        assert (result[f"p_{name}"] < 1).any(), f"{name} has nothing to say in this test"
    assert result.height == world().height
    assert result.select(world().columns).drop("stratum").equals(world().drop("stratum"))


def test_no_rows_are_no_rows():
    """All columns of the same types, so that an idle engine hands on what a busy one does."""
    model = scorer()
    nothing = model.score(Rows.of(world().clear())).frame()
    assert nothing.height == 0
    assert nothing.schema == scored(model, world()).schema


def test_columns_of_models_do_not_clash():
    assert len(set(scored(scorer(), world()[:5]).columns)) == scored(scorer(), world()[:5]).width


def test_newcomers_are_compared_with_newcomers():
    result = scored(scorer(), world())
    # An attempt names hosts that need not be there: it is a newcomer's by its source only.
    known = pl.when(pl.col("kind") == ATTEMPT_KIND).then("orig_phase").otherwise("resp_phase")
    newcomer = result.select(pl.min_horizontal("orig_phase", known) < PHASES.index("protecting")).to_series()
    assert 10 < newcomer.sum() < ROWS - 10
    shift = result["stratum"] - world()["stratum"]
    assert world()["stratum"].max() < shift.max()
    assert shift.to_list() == [shift.max() if new else 0 for new in newcomer]


def test_what_was_said_does_not_change_with_what_comes_after():
    model = scorer()
    whole = scored(model, world())
    for place in (1, 200, ROWS - 1):
        assert scored(scorer(), world()[:place]).equals(whole[:place])


def test_a_repeat_has_a_history_too():
    """The judge reads the age of the history and the hosts from the row, whichever model found it strange."""
    rows = [*life(ROWS, seed=3), row(24 * 13, desk(3), server(3), "smb"), row(24 * 13 + 0.1, desk(3), server(3), "smb")]
    result = scored(scorer(), units(rows))[-2:]
    assert result["p_structure"][1] == 1.0
    for name in ("history", "hosts"):
        assert result[name][1] == pytest.approx(result[name][0], rel=0.01)

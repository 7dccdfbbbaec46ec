"""A host's hour: counts against plain Python, trees against River, and what must not change results."""

import functools
import math
from collections import defaultdict

import numpy as np
import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from river.anomaly import HalfSpaceTrees

from detector.features import acts as features
from detector.features.acts import ATTEMPT_KIND
from detector.score import tally, windows
from detector.score.columns import Columns
from detector.score.memory import Memory
from detector.score.tally import columns_of
from detector.score.windows import DOUBLINGS, FEATURES, KNOWN_HOURS, Windows, met_by, stretched, walk
from detector.state.counts import Counts
from detector.state.counts import walk as walk_all
from tests.score.frames import STRATA, desk, enriched, life, row, same_state, scored, server
from tests.score.reference import HOUR_US

FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow], deadline=None)
DAYS = 12


def told(rows, **columns):
    """Rows as the model takes them, behind structure."""
    return enriched(rows).with_columns(stratum=pl.lit(0), **{"seen": pl.lit(1.0), **columns})


def lively(count=2500, seed=3):
    frame = told(life(count, seed, days=float(DAYS), hosts=8))
    place = pl.int_range(pl.len())
    return frame.with_columns(
        seen=pl.when(place % 7 == 0).then(0.0).otherwise(2.0),
        p_structure=pl.when(place % 5 == 0).then(1.0).otherwise(0.5),
    )


def model(max_entries=1_000_000):
    return Windows(STRATA, max_entries, 30.0)


def by_hand(frame):
    """Doublings above the usual of each row's originator after the row, and whether the row is asked."""
    hours, known, counts, usual, met = {}, defaultdict(int), {}, {}, {}
    above, asked = [], []
    for one in frame.iter_rows(named=True):
        host, hour = one["orig_id"], one["obs_ts"] // HOUR_US
        if host not in hours:
            hours[host], counts[host], usual[host], met[host] = hour, [0.0] * 8, [0.0] * 8, (set(), set(), set())
        if hour > hours[host]:
            known[host] += 1
            for place, count in enumerate(counts[host]):
                step = math.log2(1 + count) - usual[host][place]
                usual[host][place] += max(-2.0, min(2.0, step)) / min(known[host], 168)
            hours[host], counts[host], met[host] = hour, [0.0] * 8, (set(), set(), set())
        before = [math.log2(1 + count) - mean for count, mean in zip(counts[host], usual[host], strict=True)]
        hosts, services, accounts = met[host]
        hosts.add(one["resp_id"])
        services.add(one["service_id"])
        if one["user_id"] is not None:
            accounts.add(one["user_id"])
        count = counts[host]
        count[0] += one["kind"] == 0
        count[1], count[2], count[7] = len(hosts), len(services), len(accounts)
        count[3] += one["seen"] <= 0 and one["p_structure"] < 1
        count[4] += one["kind"] == 1
        count[5] += one["kind"] == 2 and one["bonus"] > 0
        count[6] += (one["orig_bytes"] or 0) / 1000
        after = [math.log2(1 + count) - mean for count, mean in zip(counts[host], usual[host], strict=True)]
        above.append(after)
        passed = any(math.floor(max(a, 0)) > math.floor(max(b, 0)) for a, b in zip(after, before, strict=True))
        asked.append(passed and known[host] >= KNOWN_HOURS)
    return np.array(above), np.array(asked)


def by_kernel(frame):
    """What `by_hand` tells of the rows that are asked, and the leading count, itself and its usual."""
    asked, above = np.zeros(frame.height, dtype=np.bool_), np.full((frame.height, 8), np.nan)
    told, columns = np.zeros((3, frame.height)), columns_of(Columns(frame))
    hosts, marks, met = Counts(1_000_000, width=18), Counts(1_000_000), met_by(columns)
    walk_all(
        frame.height,
        [(hosts, 1), (marks, 3)],
        lambda start, stop: walk(
            columns,
            met,
            hosts.table,
            hosts.used,
            1 << 40,
            marks.table,
            marks.used,
            1 << 40,
            start,
            stop,
            asked,
            above,
            told,
        ),
    )
    return above, told, asked


def test_counts_are_those_of_plain_python():
    frame = lively()
    (out, lead, asked), (above, wanted) = by_kernel(frame), by_hand(frame)
    assert asked.tolist() == wanted.tolist()
    np.testing.assert_allclose(out[asked], above[wanted], rtol=1e-12, atol=1e-12)
    assert 300 < wanted.sum() < frame.height / 2, "enough to mean something, and quiet rows cost nothing"
    assert lead[0, asked].tolist() == np.argmax(above / DOUBLINGS, axis=1)[wanted].tolist()
    assert np.isnan(out[~asked]).all()
    assert not lead[:, ~asked].any()


def test_opinions_are_rivers():
    """River's trees in plain Python, one row after another: not a bit of difference."""
    frame, own = lively(), model()
    told_by_us = scored(own, frame)
    above, _, wanted = by_kernel(frame)
    memory = Memory(STRATA, 1, 30.0, 1)
    river = HalfSpaceTrees(n_trees=25, height=6, window_size=250, seed=7)
    scores, p = np.zeros(frame.height), np.ones(frame.height)
    for place in np.flatnonzero(wanted).tolist():
        scaled = np.clip(above[place] / DOUBLINGS, 0.0, 1.0)
        vector = dict(zip(FEATURES, scaled.tolist(), strict=True))
        if not river._first_window:
            scores[place] = -12.0 * math.log(1 - river.score_one(vector))
            tally.fade(memory.calibrated, frame["obs_ts"][place])
            p[place] = tally.judge(memory.calibrated, 0, scores[place])
        if frame["teach"][place] or p[place] >= 0.01:
            river.learn_one(vector)
    assert told_by_us["windows"].to_numpy().tobytes() == scores.tobytes()
    assert told_by_us["p_windows"].to_numpy().tobytes() == p.tobytes()
    masses = [[node.r_mass, node.l_mass] for tree in river.trees for node in tree.iter_dfs()]
    assert own.trees.arrays()["masses"].tolist() == masses
    assert p.min() < 0.01, "some did not teach"
    assert len(set(scores)) > 200


def test_every_mass_has_the_logarithm_of_plain_python():
    """All 793,750 there can be; NumPy, when it takes many at once, differs in the last bit of some."""
    most = 25 * 250 * 127
    found = [1 - mass / most for mass in range(1, most + 1)]
    assert [stretched(one) for one in found] == [-12.0 * math.log(1 - one) for one in found]


@given(st.lists(st.integers(0, 2500), max_size=6))
@FEW
def test_a_row_does_not_depend_on_its_batch(cuts):
    frame, one, many = lively(), model(), model()
    result = scored(one, frame)
    assert result.equals(scored(many, frame, cuts))
    assert same_state(one, many)
    assert (result["p_windows"] < 1).sum() > 100


@given(st.integers(1, 2499), st.sampled_from([60, 1_000_000]))
@FEW
def test_a_restored_model_goes_on(cut, max_entries):
    frame, one, other = lively(), model(max_entries), model(max_entries)
    scored(one, frame[:cut])
    other.load({name: array.copy() for name, array in one.arrays().items()})
    assert scored(one, frame[cut:]).equals(scored(other, frame[cut:]))
    assert same_state(one, other)


def test_a_full_table_forgets_and_goes_on():
    one, many, frame = model(max_entries=60), model(max_entries=60), lively()
    assert scored(one, frame).equals(scored(many, frame, range(100, 2500, 100)))
    counts = one.memory.counts
    assert counts.used[0] <= 60 + 3
    assert counts.evicted == many.memory.counts.evicted > 0


def test_hosts_have_a_bound_of_their_own():
    one, many, frame = model(max_entries=20), model(max_entries=20), lively()
    assert scored(one, frame).equals(scored(many, frame, range(100, 2500, 100)))
    assert one.hosts.used[0] <= 5
    assert one.hosts.evicted == many.hosts.evicted > 0


@functools.cache
def habit(hosts=20, days=20):
    """Each desk begins some connections to a few servers, each working hour, in bursts as people do."""
    rng = np.random.default_rng(8)
    rows = [
        row(24 * day + clock + rng.random() * 0.99, desk(number), server((number + place) % 5))
        for day in range(days)
        for clock in range(8, 17)
        for number in range(hosts)
        for place in range(int(rng.poisson(rng.gamma(1.0, 4.0))))
    ]
    return sorted(rows, key=lambda one: one["obs_ts"])


def sweep(hour, host, targets=24):
    return [row(hour + n / 100, host, server(10 + n), "rdp", kind=ATTEMPT_KIND) for n in range(targets)]


def test_a_sweep_is_seen_while_it_runs():
    result = told([*habit(), *sweep(19 * 24 + 18.0, desk(3))])
    result = result.hstack(scored(model(), result))
    attempts = result.filter(pl.col("kind") == ATTEMPT_KIND)
    assert attempts["p_windows"].min() < 0.01
    assert attempts["p_windows"].arg_min() < 16, "not only when it is over"
    worst = attempts.row(attempts["p_windows"].arg_min(), named=True)
    assert FEATURES[int(worst["window_feature"])] == "attempts"
    assert worst["window_usual"] < 1 < worst["window_count"]
    assert result.filter(pl.col("kind") != ATTEMPT_KIND)["p_windows"].min() > worst["p_windows"]


def test_who_sweeps_every_hour_is_not_strange():
    """A scanner is as unlike its own usual as anybody: not at all."""
    rows = list(habit())
    for hour in (24 * day + clock for day in range(20) for clock in range(8, 17)):
        rows += sweep(hour + 0.5, desk(50))
    frame = told(sorted(rows, key=lambda one: one["obs_ts"]))
    result = frame.hstack(scored(model(), frame))
    settled = result.filter((pl.col("orig_h") == desk(50)) & (pl.int_range(pl.len()) > frame.height // 2))
    assert settled["p_windows"].min() > 0.01


def test_a_host_without_a_usual_is_not_asked():
    hours = [row(hour + n / 50, desk(99), server(n)) for hour in range(KNOWN_HOURS + 1) for n in range(2 * hour + 1)]
    frame = told([*habit(), *({**one, "obs_ts": one["obs_ts"] + 480 * HOUR_US} for one in hours)])
    late = frame.hstack(scored(model(), frame)).filter(pl.col("orig_h") == desk(99))
    last = late["obs_ts"] // HOUR_US == late["obs_ts"].max() // HOUR_US
    assert late.filter(~last)["p_windows"].to_list() == [1.0] * int((~last).sum())
    assert late.filter(last)["p_windows"].min() < 1.0


def test_what_is_strange_does_not_teach_the_trees(monkeypatch):
    """Unless somebody says that it may: the strangest percent would hollow out what is sparse."""
    frame = told([*habit(), *sweep(19 * 24 + 18.0, desk(3))])
    learned = []
    for teach in (False, True):
        one = model()
        scored(one, frame.with_columns(teach=pl.lit(teach)))
        learned.append(int(one.trees.arrays()["progress"][0]))
    assert learned[0] != learned[1]
    monkeypatch.setattr(windows, "look", windows.look.py_func)  # in which a constant can be changed
    monkeypatch.setattr(windows, "GUARD_P", 0.0)
    one = model()
    scored(one, frame)
    assert int(one.trees.arrays()["progress"][0]) == learned[1]


def test_kinds_are_those_of_units():
    names = ("FLOW_KIND", "ATTEMPT_KIND", "OPERATION_KIND")
    assert [getattr(tally, name) for name in names] == [getattr(features, name) for name in names]

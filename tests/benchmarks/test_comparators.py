"""The comparators: what each calls strange, and MIDAS against a plain implementation of its formulas."""

import numpy as np
import polars as pl
import pytest
from contest.comparators import COMPARATORS, features, forest, midas, never_seen, trees

MINUTE = midas.MINUTE_US
DAY = 86_400_000_000


def stream(seed, rows=400, hosts=6, minutes=40):
    """Edges at random; wide sketches keep them apart."""
    generator = np.random.default_rng(seed)
    ends = generator.integers(0, hosts, (2, rows))
    return pl.DataFrame(
        {
            "ts": np.sort(generator.integers(0, minutes, rows)) * MINUTE,
            "src": [f"s{number}" for number in ends[0]],
            "dst": [f"d{number}" for number in ends[1]],
            "service": [f"p{number}" for number in generator.integers(0, 2, rows)],
        }
    )


def plain_midas(frame, filtering, threshold=midas.THRESHOLD, decay=midas.DECAY):
    """The papers' algorithms with dictionaries for sketches: exact counts."""
    now, total, last, scores = {}, {}, {}, []
    tick, before = 0, None
    for ts, src, dst, service in frame.select("ts", "src", "dst", "service").iter_rows():
        if ts != before:
            if before is not None:
                for key, count in now.items():
                    if filtering:
                        strange = last[key] >= threshold
                        average = total.get(key, 0.0) / (tick - 1) if tick > 1 else 0.0
                        total[key] = total.get(key, 0.0) + (average if strange else count)
                now = {key: count * decay for key, count in now.items()}
            tick, before = tick + 1, ts
        best = 0.0
        for key in (("e", src, dst, service), ("s", src), ("d", dst, service)):
            now[key] = now.get(key, 0.0) + 1
            if not filtering:
                total[key] = total.get(key, 0.0) + 1
            a, s, t = now[key], total.get(key, 0.0), tick
            if t == 1 or s == 0:
                score = 0.0
            elif filtering:
                score = (a + s - a * t) ** 2 / (s * (t - 1))
            else:
                score = (a - s / t) ** 2 * t**2 / (s * (t - 1))
            last[key] = score
            best = max(best, score)
        scores.append(best)
    return scores


@pytest.mark.parametrize("filtering", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_midas_is_the_papers(filtering, seed):
    frame = stream(seed)
    assert midas.scores(frame, filtering=filtering) == pytest.approx(plain_midas(frame, filtering), rel=1e-9)


def test_the_filter_keeps_what_is_strange_out_of_the_history():
    ticks = [minute for minute in range(30) for _ in range(2)] + [30] * 400 + [31] * 400
    frame = pl.DataFrame({"ts": [tick * MINUTE for tick in ticks], "src": "s", "dst": "d", "service": "p"})
    filtered = midas.scores(frame, filtering=True)
    plain = midas.scores(frame, filtering=False)
    assert filtered == pytest.approx(plain_midas(frame, filtering=True), rel=1e-9)
    # The burst's second minute is as strange as the first to MIDAS-F; to MIDAS-R it is half of the past by then.
    assert filtered[-1] > filtered[459]
    assert plain[-1] / plain[459] < filtered[-1] / filtered[459]


@pytest.mark.parametrize("filtering", [False, True])
def test_a_burst_stands_out(filtering):
    quiet = [(minute, f"s{host}", "d", "p") for minute in range(120) for host in range(20)]
    burst = [(100, "s3", "d2", "p")] + [(101, "s3", "d2", "p")] * 50
    rows = sorted(quiet + burst, key=lambda row: row[0])
    frame = pl.DataFrame(rows, schema=["minute", "src", "dst", "service"], orient="row")
    scores = midas.scores(frame.with_columns(ts=pl.col("minute") * MINUTE), filtering=filtering)
    attack = (frame["dst"] == "d2").to_numpy()
    assert np.flatnonzero(attack)[np.argmax(scores[attack])] == np.argmax(scores)
    assert scores[attack].max() > 20 * scores[~attack & (frame["minute"] < 100).to_numpy()].max()


def test_narrow_sketches_only_overcount():
    keys = np.arange(1000, dtype=np.uint64)
    cells = midas.hashed(keys, 64, np.random.default_rng(0))
    assert cells.shape == (midas.ROWS, 1000)
    assert cells.min() >= 0
    assert cells.max() < 64
    assert np.unique(cells[0]).size == 64


def test_never_seen_is_once():
    frame = pl.DataFrame({"src": ["a", "a", "b", "a"], "dst": ["x", "x", "x", "x"], "service": ["p", "q", "p", "q"]})
    assert never_seen.first_of(frame, "src", "dst").tolist() == [1, 0, 1, 0]
    assert never_seen.first_of(frame, "src", "dst", "service").tolist() == [1, 1, 1, 0]


def flows(rows=1500):
    """Eight days of small SF flows to port 443; the last one is large."""
    generator = np.random.default_rng(4)
    return pl.DataFrame(
        {
            "ts": np.linspace(0, 8 * DAY, rows).astype(np.int64),
            "src": "a",
            "dst": "b",
            "service": "https",
            "proto": "tcp",
            "conn_state": "SF",
            "resp_p": 443,
            "duration": generator.random(rows),
            "orig_bytes": generator.integers(100, 200, rows),
            "resp_bytes": generator.integers(100, 200, rows),
            "orig_pkts": generator.integers(3, 9, rows),
            "resp_pkts": [*generator.integers(3, 9, rows - 1).tolist(), None],
        }
    ).with_columns(orig_bytes=pl.when(pl.int_range(pl.len()) == rows - 1).then(10**9).otherwise("orig_bytes"))


def test_raw_features_are_numbers_and_the_first_week_teaches():
    frame = flows()
    assert features.raw(frame).shape == (1500, 15)
    assert np.isfinite(features.raw(frame)).all()
    known = features.training(frame)
    assert frame["ts"].to_numpy()[known].max() < 7 * DAY <= frame["ts"].to_numpy()[~known].min()


@pytest.mark.parametrize("scorer", [forest.scores, trees.scores])
def test_what_looks_like_nothing_before_is_strange(scorer):
    frame = flows()
    scores = scorer(frame, 7 * DAY)
    judged = frame["ts"].to_numpy() >= 7 * DAY
    assert (scores[~judged] == 0).all()
    assert scores[-1] >= np.quantile(scores[judged], 0.95)
    assert (scorer(frame, 7 * DAY) == scores).all()


def test_half_space_trees_score_every_judged_row_even_when_they_learn_few(monkeypatch):
    monkeypatch.setattr(trees, "MAX_LEARNED", 700)
    frame = flows()
    judged = frame["ts"].to_numpy() >= 7 * DAY
    assert (trees.scores(frame, 7 * DAY)[judged] > 0).all()


def test_all_take_the_same_rows():
    frame = flows(200)
    for name, comparator in COMPARATORS.items():
        assert comparator(frame, 7 * DAY).shape == (200,), name

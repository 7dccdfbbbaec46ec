from collections import Counter

import numpy as np
import pytest

from detector.simulate import simulate
from detector.simulate.acts import Acts
from detector.simulate.density import ROUTINE, WHOLE, parts, poll_period, thin
from detector.simulate.draw import Purpose, stream
from detector.simulate.rhythm import HOUR, MINUTE, SECOND
from detector.simulate.services import MISTYPED, Kind
from tests.simulate.conftest import labels, read

DEEDS = {22, 3389, 5985, 8400}  # SSH, remote desktop, WinRM, backup
SCANNER = "10.20.3.10"


def a_day(pairs=200, often=30):
    """Every kind, ``often`` times a day between each of ``pairs`` pairs of hosts."""
    acts = Acts()
    for kind in Kind:
        orig = np.repeat(np.arange(pairs), often)
        acts.add(kind, np.arange(len(orig)) * SECOND, orig, orig + pairs, orig)
    return acts.table()


def thinned(density, day=0):
    return thin(a_day(), parts(density), stream(1, Purpose.DENSITY, day))


def test_a_density_of_one_leaves_the_day_as_it_is():
    table = a_day()
    assert thin(table, WHOLE, stream(1, Purpose.DENSITY)) is table


def test_only_routine_is_thinned():
    kinds = Counter(thinned(0.01).kind.tolist())
    for kind in Kind:
        assert (kinds[kind] < 200 * 2) if kind in ROUTINE else (kinds[kind] == 200 * 30), kind


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_the_asked_share_stays(density):
    table = thinned(density)
    routine = np.isin(table.kind, list(ROUTINE)).sum()
    assert routine / (200 * 30 * len(ROUTINE)) == pytest.approx(density, abs=0.01)
    assert (np.diff(table.ts) >= 0).all(), "in the order of time"


def test_a_pair_shows_on_most_of_its_days_however_thin():
    seen: Counter[int] = Counter()
    for day in range(10):
        table = thinned(1e-6, day)
        seen.update(set(table.orig[table.kind == Kind.MAIL].tolist()))
    assert len(seen) == 200
    assert 0.55 <= seen.total() / (200 * 10) <= 0.65


def test_the_first_log_on_of_the_day_stays():
    table = thinned(1e-6)
    log_ons = table.take(table.kind == Kind.KRB_AS)
    assert (log_ons.ts == log_ons.orig * 30 * SECOND).all()
    assert len(log_ons) == 200


def test_mistyped_passwords_stay():
    acts = Acts()
    acts.add(Kind.KRB_AS, np.arange(50), 1, 2, 3, MISTYPED)
    assert len(thin(acts.table(), 1, stream(1, Purpose.DENSITY))) == 50


def test_polls_are_logged_less_often_but_still_as_polls():
    assert poll_period(WHOLE) == MINUTE
    assert poll_period(parts(0.2)) == 5 * MINUTE
    assert poll_period(1) < 4 * HOUR / 5


def test_a_thin_plant_shows_the_same_deeds_and_attacks_and_no_other_pairs(tmp_path):
    wish = {"days": 1, "hosts": 80, "seed": 5, "netflow": False}
    full, thin_ = (read(simulate(tmp_path / str(d), density=d, **wish)) for d in (1.0, 0.05))
    assert len(thin_.logs["conn"]) < len(full.logs["conn"]) / 5

    def deeds(week):
        done = [c for c in week.logs["conn"] if c["id.resp_p"] in DEEDS and c["id.orig_h"] != SCANNER]
        return {(c["ts"], c["id.orig_h"], c["id.resp_h"]) for c in done}

    def pairs(week):
        ends = {(c["id.orig_h"], c["id.resp_h"]) for c in week.logs["conn"]}
        return {(orig, resp) for orig, resp in ends if orig.startswith("10.") and resp.startswith("10.")}

    def hops(week):
        return [(hop["campaign"], hop["start"], hop["src"], hop["dst"]) for hop in labels(week)]

    assert deeds(thin_) == deeds(full)
    assert len(deeds(full)) > 50
    assert hops(thin_) == hops(full)
    assert len(hops(full)) >= 8
    assert pairs(thin_) <= pairs(full)
    assert len(pairs(thin_)) > 0.6 * len(pairs(full))

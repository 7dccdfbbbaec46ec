from datetime import UTC, datetime

import numpy as np
import pytest

from detector.simulate.draw import Purpose, stream
from detector.simulate.people import Staff
from detector.simulate.plant import Role, build_plant
from detector.simulate.rhythm import HOUR, day_of

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
PLANT = build_plant(400, 1)


def crews(days, hired=None):
    staff = Staff(PLANT, np.zeros(len(PLANT.hosts), dtype=np.int64) if hired is None else hired, 1)
    for number in range(days):
        day = day_of(MONDAY, number)
        yield day, staff.crew(day, stream(1, Purpose.PRESENCE, number))


def test_each_comes_at_hours_of_their_own():
    arrivals: dict[int, list[int]] = {}
    for day, crew in crews(12):
        if day.working:
            for desk, arrive in zip(crew.desks.tolist(), crew.arrive.tolist(), strict=True):
                arrivals.setdefault(desk, []).append(arrive)
    own = np.mean([np.std(times) for times in arrivals.values()])
    apart = np.std([np.mean(times) for times in arrivals.values()])
    assert own < HOUR / 2 < HOUR < apart


def test_weekends_are_quiet_and_short():
    present = {day.number: crew for day, crew in crews(7)}
    assert len(present[5].desks) < len(present[4].desks) / 8
    assert (present[6].leave - present[6].arrive).max() <= 5 * HOUR


def test_nobody_is_in_before_they_are_hired():
    hired = np.zeros(len(PLANT.hosts), dtype=np.int64)
    late = PLANT.of(Role.WORKSTATION)[::7]
    hired[late] = 3
    for day, crew in crews(5, hired):
        assert np.isin(late, crew.desks).any() == (day.number >= 3)
        assert not np.isin(crew.person[crew.desks], late[~np.isin(late, crew.desks)]).any()


def test_now_and_then_somebody_sits_at_another_desk():
    guests = [int((crew.person[crew.desks] != crew.desks).sum()) for day, crew in crews(5) if day.working]
    desks = len(PLANT.of(Role.WORKSTATION))
    assert desks / 100 < np.mean(guests) < desks / 20
    for _, crew in crews(5):
        admins = PLANT.of(Role.ADMIN)
        assert (crew.person[admins] == admins).all()


def test_hours_are_while_somebody_is_there():
    for _, crew in crews(2):
        desk = np.repeat(crew.desks, 20)
        times = crew.hours(stream(1, Purpose.OFFICE), desk)
        assert (times >= np.repeat(crew.arrive, 20)).all()
        assert (times < np.repeat(crew.leave, 20)).all()


@pytest.mark.parametrize("role", [Role.WORKSTATION, Role.ADMIN])
def test_people_of_every_kind_come(role):
    assert all(len(crew.of(PLANT.of(role))) for day, crew in crews(5) if day.working)

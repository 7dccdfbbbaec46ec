from datetime import UTC, datetime

import numpy as np
import pytest

from detector.simulate.drift import AddressBook, first_days, migration
from detector.simulate.plant import Role, build_plant
from detector.simulate.rhythm import day_of

PLANT = build_plant(400, 1)
DAYS = [day_of(datetime(2026, 3, 2, tzinfo=UTC), number) for number in range(60)]


def books(days):
    """The addresses of each day."""
    book = AddressBook(PLANT, DAYS[:days], seed=1)
    for day in DAYS[:days]:
        book.turn(day)
        yield list(book.addresses)


def test_leases_move_and_come_back_to_others():
    seen: dict[str, set[int]] = {}
    moves = 0
    before = None
    for addresses in books(60):
        assert len(set(addresses)) == len(addresses), "an address has one holder"
        moves += sum(a != b for a, b in zip(before or addresses, addresses, strict=True))
        before = addresses
        for host, address in enumerate(addresses):
            seen.setdefault(address, set()).add(host)
    desks = len(PLANT.of(Role.WORKSTATION))
    assert moves / desks / 43 == pytest.approx(0.01, rel=0.4)  # working days after the first
    assert sum(len(holders) > 1 for holders in seen.values()) >= 5


def test_only_desks_and_the_migrated_server_move():
    first, *_, last = books(21)
    changed = {PLANT.hosts[i].role for i, (a, b) in enumerate(zip(first, last, strict=True)) if a != b}
    assert Role.WORKSTATION in changed
    assert changed - {Role.WORKSTATION} == {PLANT.hosts[migration(PLANT, DAYS[:21], 1)[1]].role}


@pytest.mark.parametrize("seed", range(5))
def test_a_server_moves_once_on_a_working_day_late_in_long_simulations(seed):
    number, server = migration(PLANT, DAYS[:21], seed)
    assert 15 <= number < 21
    assert DAYS[number].working
    assert PLANT.hosts[server].role in (Role.ERP, Role.MES_FRONT)
    assert migration(PLANT, DAYS[:8], seed)[0] == -1


def test_desks_and_servers_join():
    hired = first_days(PLANT, 21, seed=1)
    roles = {PLANT.hosts[i].role for i in np.flatnonzero(hired).tolist()}
    assert roles == {Role.WORKSTATION, Role.APP}
    assert 0.01 < np.count_nonzero(hired[PLANT.of(Role.WORKSTATION)]) / len(PLANT.of(Role.WORKSTATION)) < 0.06
    assert hired.max() < 21
    assert not first_days(PLANT, 5, seed=1)[PLANT.of(Role.APP)].any()

"""What was done: a first write after many reads, and how much of it is chatter."""

import numpy as np
import pytest

from detector.features.acts import ACT_BONUS
from detector.score.operations import Operations
from detector.score.table import STRENGTH
from tests.score.frames import STRATA, Trained, controller, desk, enriched, row, scored, server, station

READ, WRITE, OPERATE = "READ_HOLDING_REGISTERS", "WRITE_MULTIPLE_REGISTERS", "DIRECT_OPERATE"
STEADY = 1e9  # days: nothing fades


def model(half_life_days=STEADY):
    return Operations(STRATA, 1_000_000, half_life_days)


def modbus(hour, host, target, operation, **more):
    return row(hour, station(host), controller(target), "modbus", operation=operation, **more)


def rpc(hour, host, target, operation, **more):
    return row(hour, desk(host), server(target), "dce_rpc", operation=operation, **more)


def reads(hours, host=0, target=0):
    return [modbus(hour, host, target, READ) for hour in range(hours)]


def first_write(history, host=0, target=0):
    hour = 1 + max(one["obs_ts"] - history[0]["obs_ts"] for one in history) / 3.6e9
    return Trained(model, history).says(modbus(hour, host, target, WRITE))


def test_what_the_words_mean_here():
    units = enriched([modbus(0, 0, 0, READ), modbus(0, 0, 0, WRITE), rpc(0, 0, 0, "svcctl::CreateServiceW")])
    assert units["consequence"].to_list() == [0, 1, 0]
    assert units["bonus"][2] == ACT_BONUS > units["bonus"][1] > units["bonus"][0]


def test_the_more_reads_the_stranger_the_first_write():
    """Each of both chains takes another ln N: (T + D) / (N + T) of what the wider context gives."""
    spent = {count: first_write(reads(count))["operations"] for count in (3, 30, 300, 3000)}
    assert list(spent.values()) == sorted(spent.values())
    for few, many in ((3, 30), (30, 300), (300, 3000)):
        expected = 2 * np.log((many + STRENGTH) / (few + STRENGTH))
        assert spent[many] - spent[few] == pytest.approx(expected, rel=1e-6)


def test_the_numbers_that_explain_it():
    said = first_write(reads(300))
    assert said["act_seen"] == 0.0
    assert said["edge_hours"] == pytest.approx(300.0, rel=1e-6)
    assert said["edge_acts"] == pytest.approx(1.0, rel=1e-6)


def polled(writers):
    """Ten stations read their controllers for 100 hours; some write too, every ten hours."""
    rows = []
    for hour in range(100):
        for host in range(10):
            rows.append(modbus(hour + host / 100, host, host, READ))
            if host in writers and hour % 10 == 3:
                rows.append(modbus(hour + 0.5 + host / 100, host, host, WRITE))
    return rows


def test_another_stations_habit_makes_it_milder():
    """But not mild: this one never wrote."""
    nobody, one, many = (first_write(polled(writers))["operations"] for writers in ((), (9,), range(1, 10)))
    habit = Trained(model, polled(range(10))).says(modbus(101, 0, 0, WRITE))["operations"]
    assert nobody > one + np.log(2)
    assert one > many
    assert many > habit + np.log(10)


def test_a_writers_write_to_another_controller_is_milder_than_a_readers_first():
    rows = [*polled((9,)), modbus(100.1, 9, 20, READ), modbus(100.2, 1, 20, READ)]
    trained = Trained(model, rows)
    writer, reader = (trained.says(modbus(102, host, 20, WRITE))["operations"] for host in (9, 1))
    assert reader > writer


def test_a_second_write_within_the_hour_is_a_repeat():
    history = reads(300)
    said = scored(model(), [*history, modbus(301, 0, 0, WRITE), modbus(301.5, 0, 0, WRITE)])
    assert said["operations"][-2] > 0
    assert said["p_operations"][-1] == 1.0


def test_polls_and_writes_do_not_hide_each_other():
    """A write between two polls is asked although the edge was used a second ago."""
    said = scored(model(), [*reads(300), modbus(300, 0, 0, READ), modbus(300.001, 0, 0, WRITE)])
    assert said["p_operations"][-1] < 1.0


# --- IT ---


@pytest.fixture(scope="module")
def office():
    """Desks that look at the shares of a server and print, hourly for two days; one administrator makes services."""
    rows = []
    for hour in range(48):
        for host in range(12):
            rows.append(rpc(hour + host / 100, host, 0, "srvsvc::NetrShareEnum"))
            rows.append(rpc(hour + 0.3 + host / 100, host, 0, "spoolss::RpcOpenPrinter"))
        rows.append(rpc(hour + 0.6, 11, 0, "svcctl::CreateServiceW"))
    return Trained(model, rows)


def test_chatter_is_cheap_and_an_act_is_not(office):
    """Neither was done on this edge; the second starts a service on the server."""
    chatter = office.says(rpc(50, 3, 0, "epmapper::ept_map"))
    act = office.says(rpc(50, 3, 0, "svcctl::StartServiceW"))
    assert act["operations"] > chatter["operations"] + ACT_BONUS
    assert act["p_operations"] < chatter["p_operations"]


def test_what_is_done_each_hour_is_not_strange(office):
    assert office.says(rpc(50, 3, 0, "srvsvc::NetrShareEnum"))["p_operations"] > 0.2
    assert office.says(rpc(50, 11, 0, "svcctl::CreateServiceW"))["p_operations"] > 0.01


def test_the_administrators_own_act_on_a_desk_is_stranger_than_his(office):
    his, another = (office.says(rpc(50, host, 0, "svcctl::CreateServiceW"))["operations"] for host in (11, 3))
    assert another > his + ACT_BONUS


def test_connections_are_not_asked():
    rows = [row(hour / 10, desk(1), server(1)) for hour in range(200)]
    one = model()
    said = scored(one, rows)
    assert set(said["p_operations"]) == {1.0}
    assert one.memory.counts.used[0] == 0

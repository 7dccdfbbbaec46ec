import numpy as np
import pytest

from detector.simulate.acts import Acts
from detector.simulate.draw import Purpose, stream
from detector.simulate.services import Kind
from detector.simulate.wire import S0, S1, connect

NEVER = 1 << 60
REMOTE = (Kind.RDP, Kind.SVC_EXEC, Kind.RPC_REPLICA, Kind.WINRM, Kind.MODBUS_SESSION, Kind.S7_PROGRAM)


def carried_out(kind, n, hop, until=NEVER):
    acts = Acts()
    acts.add(kind, np.arange(n, dtype=np.int64) * 1_000_000, 1, 2, hop=hop)
    return connect(acts.table(), until, stream(5, Purpose.WIRE))


@pytest.mark.parametrize("kind", REMOTE)
def test_an_attack_is_drawn_like_everything_else(kind):
    """Same intents, same draws: the hop column must not reach any property of a connection."""
    ordinary, hostile = carried_out(kind, 2000, hop=-1), carried_out(kind, 2000, hop=3)
    for column in (
        "duration",
        "orig_bytes",
        "resp_bytes",
        "orig_pkts",
        "resp_pkts",
        "orig_p",
        "resp_p",
        "state",
        "uid",
    ):
        assert np.array_equal(getattr(ordinary, column), getattr(hostile, column)), column


def test_an_unanswered_call_brings_nothing_back():
    conns = carried_out(Kind.PROBE, 3000, hop=-1)
    silent = conns.state == S0
    assert silent.any()
    for column in ("resp_bytes", "resp_pkts", "orig_bytes"):
        assert not getattr(conns, column)[silent].any()
    assert not conns.answered[silent].any()


def test_retries_of_an_unanswered_call_take_their_time():
    conns = carried_out(Kind.PROBE, 3000, hop=-1)
    silent = conns.take(conns.state == S0)
    assert set(silent.orig_pkts.tolist()) == {1, 2, 3}
    assert (silent.duration[silent.orig_pkts == 1] == 0).all()
    assert (silent.duration[silent.orig_pkts == 3] >= 9_000_000).all()


def test_a_stopping_sensor_cuts_connections_off():
    conns = carried_out(Kind.RDP, 50, hop=-1, until=60_000_000)
    assert (conns.end < 60_000_000).all()
    assert (conns.state == S1).sum() > 30


def test_packets_carry_their_bytes():
    conns = carried_out(Kind.SMB_FILE, 3000, hop=-1)
    assert (conns.orig_pkts * 1448 >= conns.orig_bytes).all()
    assert (conns.resp_pkts * 1448 >= conns.resp_bytes).all()

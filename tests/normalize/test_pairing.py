"""The halves of a conversation find each other: the right ones, once, and in bounded time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.normalize import pairing
from detector.normalize.pairing import partners
from detector.normalize.twins import FLOW_IDENTITY, Twins
from detector.rows import Rows
from tests.normalize.flows import SECOND, WINDOW, at_once, conn, frame, half, oriented

CLIENT, SERVER = "10.0.0.1:50000", "10.0.0.2:445"
FLOOD = 3_000


def test_both_halves_are_one_row():
    there = half(CLIENT, SERVER, ts=1.0, length=2.0, orig_bytes=700, orig_pkts=7, orig_flags=27)
    back = half(SERVER, CLIENT, ts=1.1, length=1.5, orig_bytes=900, orig_pkts=9, orig_flags=26)
    row = at_once([back, there]).row(0, named=True)
    # Which half is the originator's is for `direction` to say: here the one that ended first stands first.
    assert (row["orig_h"], row["orig_bytes"], row["orig_pkts"], row["orig_flags"]) == ("10.0.0.2", 900, 9, 26)
    assert (row["resp_h"], row["resp_bytes"], row["resp_pkts"], row["resp_flags"]) == ("10.0.0.1", 700, 7, 27)
    assert (row["ts"], row["obs_ts"], row["duration"]) == (SECOND, 3 * SECOND, 2.0)
    assert (row["orig_ts"], row["resp_ts"], row["paired"]) == (1_100_000, SECOND, True)


@pytest.mark.parametrize(
    ("back", "pairs"),
    [
        (half(SERVER, CLIENT, ts=2.0), True),  # ends a window later
        (half(SERVER, CLIENT, ts=2.000001), False),
        (half(SERVER, CLIENT, exporter="10.255.0.2"), True),  # came back another way
        (half(SERVER, CLIENT, proto="udp"), False),
        (half(SERVER, "10.0.0.1:50001"), False),
        (half(CLIENT, SERVER, ts=0.05), False),  # points the same way
        (conn(SERVER, CLIENT), False),  # is a whole conversation already
    ],
)
def test_what_is_the_other_half(back, pairs):
    assert at_once([half(CLIENT, SERVER), back])["paired"].to_list() == ([True] if pairs else [False, False])


def test_the_latest_half_that_waits_is_taken():
    """A 5-tuple that is used again and again: each request finds its own reply."""
    rows = [half(CLIENT, SERVER, ts=n, orig_pkts=n) for n in range(5)]
    rows += [half(SERVER, CLIENT, ts=n + 0.01, orig_pkts=n) for n in range(5)]
    out = at_once(rows)
    assert out.select("orig_pkts", "resp_pkts").rows() == [(n, n) for n in range(5)]


@pytest.mark.parametrize("repeated", [(1, 0), (0, 1), (1, 1), (3, 2)])
def test_a_flow_exported_twice_is_paired_once(repeated):
    """Ingress and egress interface, of one direction only or of both: one conversation, the rest are its twins."""
    there = [half(CLIENT, SERVER, proto="udp", position=n) for n in range(1 + repeated[0])]
    back = [half(SERVER, CLIENT, ts=0.01, proto="udp", position=10 + n) for n in range(1 + repeated[1])]
    out = oriented(*there, *back)
    twin = Twins(FLOW_IDENTITY, 1000).mark(Rows.of(out))
    assert twin.tolist() == [False] + [True] * sum(repeated)
    assert set(out.select("orig_p", "orig_pkts", "resp_pkts").rows()) == {(50_000, 3, 3)}
    assert (1 + out["paired"].cast(int)).sum() == len(there) + len(back)


def test_halves_without_ports_are_not_taken_for_repeats():
    rows = [{**half(a, b, proto="icmp"), "orig_p": None, "resp_p": None} for a, b in [(CLIENT, SERVER)] * 2]
    assert oriented(*rows)["paired"].to_list() == [False, False]
    assert partners(at_once(rows).sort("position"), WINDOW)[1].tolist() == [-1, -1]


HALVES = st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 2)), max_size=40)


def reference(forward, start, end):
    """The definition, in quadratic time."""
    partner, original = [-1] * len(end), [-1] * len(end)
    for row in range(len(end)):
        same = [n for n in range(row) if (forward[n], start[n], end[n]) == (forward[row], start[row], end[row])]
        if same and row - 1 in same:
            original[row] = row - 1 if original[row - 1] < 0 else original[row - 1]
            continue
        for other in reversed(range(row)):
            free = partner[other] < 0 and original[other] < 0 and forward[other] != forward[row]
            if free and end[row] - end[other] <= WINDOW:
                partner[other], partner[row] = row, other
                break
    return partner, original


@given(HALVES)
def test_pairs_are_those_of_the_definition(halves):
    halves.sort(key=lambda h: (h[1], -h[2], h[0]))
    rows = [
        half(*((CLIENT, SERVER) if there else (SERVER, CLIENT)), ts=(end - length) / 10, length=length / 10)
        for there, end, length in halves
    ]
    found = partners(frame(rows), WINDOW)
    there = [forward for forward, _, _ in halves]
    expected = reference(there, [row["ts"] for row in rows], [row["obs_ts"] for row in rows])
    assert [array.tolist() for array in found] == [list(array) for array in expected]


class Counted:
    """An array that counts how often it is read."""

    def __init__(self, values):
        self.values, self.reads = values, 0

    def __getitem__(self, index):
        self.reads += 1
        return self.values[index]


@pytest.mark.parametrize("back", [[], [0] * FLOOD, [0, 1] * (FLOOD // 2), [0] * 10 + [1] * 10])
def test_a_flood_on_one_5_tuple_costs_a_few_steps_a_row(back):
    """Requests without an answer, answers to all, both mixed: work grows with the rows, not with their pairs."""
    points = np.array([1] * FLOOD + back, dtype=np.bool_)
    end = Counted(np.arange(points.size))
    keys = np.zeros(points.size, dtype=np.uint64)
    partner, original, waiting = (np.full(points.size, -1) for _ in range(3))
    order = np.arange(points.size)
    pairing._match.py_func(order, keys, points, order, end, WINDOW, partner, original, waiting)
    assert end.reads <= 4 * points.size
    compiled = [np.full(points.size, -1) for _ in range(3)]
    pairing._match(order, keys, points, order, order, WINDOW, *compiled)
    assert compiled[0].tolist() == partner.tolist()
    assert compiled[1].tolist() == original.tolist()

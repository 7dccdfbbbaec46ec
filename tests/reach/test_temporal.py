"""Reach in time against a plain reference, which walks paths one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.reach import temporal
from detector.reach.temporal import NEVER, Contacts, reached, spread


def contacts_of(rows):
    rows = sorted(rows, key=lambda row: row[2])
    orig, resp, slot = (np.array(column, dtype=np.int64) for column in (zip(*rows, strict=True) if rows else ([],) * 3))
    return Contacts(orig, resp, slot)


def by_hand(rows, source, hops):
    """The fewest hops to each host: every path of contacts with rising times, followed to its end."""
    fewest = {}

    def go(host, time, hop):
        for orig, resp, slot in rows if hop < hops else ():
            if orig == host and slot > time:
                fewest[resp] = min(fewest.get(resp, hops), hop + 1)
                go(resp, slot, hop + 1)

    go(source, -1, 0)
    fewest.pop(source, None)
    return fewest


HOSTS = 7
CONTACT = st.tuples(st.integers(0, HOSTS - 1), st.integers(0, HOSTS - 1), st.integers(0, 5))
NETWORK = st.lists(CONTACT.filter(lambda row: row[0] != row[1]), max_size=14)


@settings(max_examples=300, deadline=None)
@given(NETWORK, st.integers(1, 5))
def test_all_hosts_at_once_and_one_alone_are_as_by_hand(rows, hops):
    contacts = contacts_of(rows)
    counts = reached(contacts, np.arange(HOSTS), HOSTS, hops)
    for source in range(HOSTS):
        fewest = by_hand(rows, source, hops)
        hop, via = spread(contacts, source, HOSTS, hops)
        assert {host: h for host, h in enumerate(hop.tolist()) if h > 0} == fewest
        assert hop[source] == 0
        for h in range(1, hops + 1):
            within = {host for host, fewest_hops in fewest.items() if fewest_hops <= h}
            assert set(np.flatnonzero(counts[source, h - 1]).tolist()) == within
        for host, place in enumerate(via.tolist()):
            assert (place == NEVER) == (hop[host] <= 0)
            if place != NEVER:
                assert contacts.resp[place] == host
                assert hop[contacts.orig[place]] <= hop[host] - 1


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_sets_in_blocks_are_the_same_sets(seed, hops):
    dice = np.random.default_rng(seed)
    hosts, count = 150, 600
    orig, resp = dice.integers(0, hosts, (2, count))
    rows = [(a, b, t) for a, b, t in zip(orig, resp, dice.integers(0, 40, count), strict=True) if a != b]
    contacts, group = contacts_of(rows), np.arange(hosts) % 5
    whole = reached(contacts, group, 5, hops)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temporal, "_ROOM", 1)
        assert (reached(contacts, group, 5, hops) == whole).all()
    for source in (0, 77, 149):
        hop, _ = spread(contacts, source, hosts, hops)
        for h in range(1, hops + 1):
            inside = group[(hop > 0) & (hop <= h)]
            assert whole[source, h - 1].tolist() == np.bincount(inside, minlength=5).tolist()


def test_what_is_over_leads_nowhere_and_what_comes_again_does():
    rows = [(1, 2, 5), (0, 1, 7)]
    assert reached(contacts_of(rows), np.zeros(3, dtype=np.int64), 1, 3)[0, :, 0].tolist() == [1, 1, 1]
    assert reached(contacts_of([*rows, (1, 2, 7)]), np.zeros(3, dtype=np.int64), 1, 3)[0, :, 0].tolist() == [1, 1, 1]
    assert reached(contacts_of([*rows, (1, 2, 8)]), np.zeros(3, dtype=np.int64), 1, 3)[0, :, 0].tolist() == [1, 2, 2]


def test_no_contacts():
    assert not reached(contacts_of([]), np.zeros(3, dtype=np.int64), 1, 2).any()
    assert spread(contacts_of([]), 1, 3, 2)[0].tolist() == [-1, 0, -1]

"""Reach in time against a plain reference, which walks paths one by one."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.reach import temporal
from detector.reach.temporal import Contacts, reached, spread


def contacts_of(rows):
    rows = sorted(rows, key=lambda row: row[2])
    orig, resp, slot = (np.array(column, dtype=np.int64) for column in (zip(*rows, strict=True) if rows else ([],) * 3))
    return Contacts(orig, resp, slot)


def rows_of(contacts):
    return list(zip(contacts.orig.tolist(), contacts.resp.tolist(), contacts.slot.tolist(), strict=True))


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
    counts, sources = reached(contacts, np.arange(HOSTS), HOSTS, hops)
    everybody = [by_hand(rows, source, hops) for source in range(HOSTS)]
    assert sources.tolist() == [sum(host in found for found in everybody) for host in range(HOSTS)]
    for source in range(HOSTS):
        fewest = everybody[source]
        found = spread(contacts, source, HOSTS, hops)
        hop = found.hop
        assert {host: h for host, h in enumerate(hop.tolist()) if h > 0} == fewest
        assert hop[source] == 0
        for h in range(1, hops + 1):
            within = {host for host, fewest_hops in fewest.items() if fewest_hops <= h}
            assert set(np.flatnonzero(counts[source, h - 1]).tolist()) == within
        for host in fewest:
            steps = [rows_of(contacts)[place] for place in found.path(host)]
            assert len(steps) == fewest[host]
            assert (steps[0][0], steps[-1][1]) == (source, host)
            for before, after in pairwise(steps):
                assert before[1] == after[0]
                assert before[2] < after[2]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_sets_in_blocks_are_the_same_sets(seed, hops):
    dice = np.random.default_rng(seed)
    hosts, count = 150, 600
    orig, resp = dice.integers(0, hosts, (2, count))
    rows = [(a, b, t) for a, b, t in zip(orig, resp, dice.integers(0, 40, count), strict=True) if a != b]
    contacts, group = contacts_of(rows), np.arange(hosts) % 5
    whole, sources = reached(contacts, group, 5, hops)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(temporal, "_ROOM", 1)
        again, same = reached(contacts, group, 5, hops)
    assert (again == whole).all()
    assert (same == sources).all()
    for source in (0, 77, 149):
        hop = spread(contacts, source, hosts, hops).hop
        for h in range(1, hops + 1):
            inside = group[(hop > 0) & (hop <= h)]
            assert whole[source, h - 1].tolist() == np.bincount(inside, minlength=5).tolist()


def test_what_is_over_leads_nowhere_and_what_comes_again_does():
    rows = [(1, 2, 5), (0, 1, 7)]
    assert reached(contacts_of(rows), np.zeros(3, dtype=np.int64), 1, 3)[0][0, :, 0].tolist() == [1, 1, 1]
    assert reached(contacts_of([*rows, (1, 2, 7)]), np.zeros(3, dtype=np.int64), 1, 3)[0][0, :, 0].tolist() == [1, 1, 1]
    assert reached(contacts_of([*rows, (1, 2, 8)]), np.zeros(3, dtype=np.int64), 1, 3)[0][0, :, 0].tolist() == [1, 2, 2]


def test_no_contacts():
    assert not reached(contacts_of([]), np.zeros(3, dtype=np.int64), 1, 2)[0].any()
    assert spread(contacts_of([]), 1, 3, 2).hop.tolist() == [-1, 0, -1]

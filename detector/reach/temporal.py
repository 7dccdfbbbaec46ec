"""Who reaches whom in time: paths in which each hop comes later than the one before.

A *contact* (u, v, t) says that u could go on to v in time slot t. A *time-respecting path* of h hops from u to w is a
row of contacts (u, x1, t1), (x1, x2, t2), ... (.., w, th) with t1 < t2 < ... < th: who arrives may use a contact that
is seen again afterwards, and none that is over (Holme and Saramäki 2012, "Temporal networks", section 2.2,
doi:10.1016/j.physrep.2012.03.001; each hop takes a slot, so times rise). With R(u, h, t) for all hosts that
at most h hops reach from u by contacts from t on::

    R(u, h, t) = R(u, h, t + 1)  ∪  { {v} ∪ R(v, h - 1, t + 1)  over the contacts (u, v, t) },     R(u, 0, t) = {}

So one walk over all contacts, from the last to the first, tells what every host reaches, when each set is a row of
bits: M contacts, N hosts and k hops take M k N / 64 steps of a processor, and nothing is left to chance. Bits are
walked in blocks of so many hosts that sets take `_ROOM` at most.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from detector.state.compiled import kernel

Numbers = NDArray[np.int64]
_ROOM: Final = 1 << 26  # bytes of sets held at once
_WORD: Final = 64
NEVER: Final = -1


@dataclass(frozen=True, slots=True)
class Contacts:
    """Contacts in order of time; arrays of shape (contacts,): hosts as numbers, time slots ascending."""

    orig: Numbers
    resp: Numbers
    slot: Numbers

    def only(self, which: NDArray[np.bool_]) -> "Contacts":
        """Some of them."""
        return Contacts(self.orig[which], self.resp[which], self.slot[which])


@kernel
def _walk(orig: Any, resp: Any, slot: Any, first: Any, sets: Any, before: Any, since: Any) -> None:
    """sets[u, h] <- bits of the hosts from ``first`` on that h + 1 hops reach at most. ``before`` keeps what a host
    reached when the slot ``since`` began: two contacts of one slot do not follow each other."""
    hops, words = sets.shape[1], sets.shape[2]
    for place in range(orig.size - 1, -1, -1):
        u, v, now = orig[place], resp[place], slot[place]
        if since[u] != now:
            since[u] = now
            for hop in range(hops):
                for word in range(words):
                    before[u, hop, word] = sets[u, hop, word]
        past = since[v] == now
        bit = v - first
        for hop in range(hops):
            if 0 <= bit < words * 64:
                sets[u, hop, bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)
            if hop:
                for word in range(words):
                    sets[u, hop, word] |= before[v, hop - 1, word] if past else sets[v, hop - 1, word]


@kernel
def _count(sets: Any, first: Any, group: Any, counts: Any, sources: Any) -> None:
    """counts[u, h, g] += hosts of group g in the sets; nobody reaches himself. sources[v] += who reaches v at last."""
    last = sets.shape[1] - 1
    for host in range(sets.shape[0]):
        for hop in range(sets.shape[1]):
            for word in range(sets.shape[2]):
                bits = sets[host, hop, word]
                target = first + 64 * word
                while bits:
                    if bits & np.uint64(1) and target != host:
                        counts[host, hop, group[target]] += 1
                        sources[target] += hop == last
                    bits >>= np.uint64(1)
                    target += 1


def reached(contacts: Contacts, group: Numbers, groups: int, hops: int) -> tuple[NDArray[np.int32], Numbers]:
    """How many hosts of each group every host reaches, and how many reach it.

    Args:
        contacts: between hosts 0 to N - 1.
        group: of each host, shape (N,), from 0 to ``groups`` - 1.
        hops: at most.

    Returns:
        Shape (N, hops, groups): after 1 hop, at most 2, ...; and shape (N,): hosts that reach it in ``hops``.
    """
    hosts = group.size
    counts, sources = np.zeros((hosts, hops, groups), dtype=np.int32), np.zeros(hosts, dtype=np.int64)
    words = max(min(_ROOM // (16 * hops * max(hosts, 1)), -(-hosts // _WORD)), 1)
    for first in range(0, hosts, words * _WORD):
        sets, before = np.zeros((2, hosts, hops, words), dtype=np.uint64)
        since = np.full(hosts, NEVER, dtype=np.int64)
        _walk(contacts.orig, contacts.resp, contacts.slot, first, sets, before, since)
        _count(sets, first, group, counts, sources)
    return counts, sources


@kernel
def _spread(orig: Any, resp: Any, slot: Any, arrival: Any, via: Any) -> None:
    """arrival[h, v] <- the first slot in which h hops at most reach v; via <- the contact that did."""
    for place in range(orig.size):
        u, v, now = orig[place], resp[place], slot[place]
        for hop in range(arrival.shape[0] - 1, 0, -1):
            if arrival[hop - 1, u] < now < arrival[hop, v]:
                arrival[hop, v] = now
                via[hop, v] = place


@dataclass(frozen=True, slots=True)
class Spread:
    """What one host reaches.

    Attributes:
        contacts: by which.
        hop: the fewest hops to each host, shape (hosts,), `NEVER` where it is not reached; 0 for the source.
        via: of shape (hops + 1, hosts): the contact by which so many hops at most reach a host first.
    """

    contacts: Contacts
    hop: Numbers
    via: Numbers

    def path(self, host: int) -> list[int]:
        """The contacts that lead to a host in the fewest hops, as places, in order of time."""
        path: list[int] = []
        for hop in range(int(self.hop[host]), 0, -1):
            path.append(int(self.via[hop, host]))
            host = int(self.contacts.orig[path[-1]])
        return path[::-1]


def spread(contacts: Contacts, source: int, hosts: int, hops: int) -> Spread:
    """From one host: the fewest hops to each, and how.

    Foremost arrivals by number of hops (Xuan, Ferreira and Jarry 2003, doi:10.1142/S0129054103001728): M k steps.
    """
    never = np.iinfo(np.int64).max
    arrival = np.full((hops + 1, hosts), never, dtype=np.int64)
    arrival[:, source] = np.iinfo(np.int64).min
    via = np.full((hops + 1, hosts), NEVER, dtype=np.int64)
    _spread(contacts.orig, contacts.resp, contacts.slot, arrival, via)
    there = arrival < never
    return Spread(contacts, np.where(there.any(axis=0), there.argmax(axis=0), NEVER).astype(np.int64), via)

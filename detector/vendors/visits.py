"""From contacts to visits: a supplier comes in, and what is done from there while it lasts is done on its behalf.

A contact is one connection with all that was logged of it. Contacts of the same ends and service that follow each other
are one stay. A stay from a supplier's host, or with its account, begins a visit. What leaves the host it stays on,
while it stays, belongs to the visit: sessions to other hosts, and so on from there, and work on controllers. As in
`score.provenance`, what leaves a jump host follows who came in.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import polars as pl

from detector.assets.agreements import Agreement
from detector.assets.services import OT_SERVICES, SESSION_SERVICES
from detector.score.provenance import SHIFT_US

GAP_US: Final = 5 * 60_000_000
"""Between two connections of one stay: who is thrown out logs on again; exporters cut long flows without a gap."""
_COOKIE: Final = 9  # characters of an account that a client of RDP sends (MS-RDPBCGR cookie, as Windows cuts it)
_ROUTINE: Final = 0.25  # of the hours without a supplier; panels and historians poll in all of them
_TICKETS: Final = "kerberos"
_NEAR_US: Final = 60_000_000
_SOON_US: Final = 10 * 60_000_000  # people act soon after they log on
_HOUR_US: Final = 3_600_000_000


@dataclass(slots=True)
class Stay:
    """Somebody on a host. Times in µs UTC; ``end`` is None where no log tells it."""

    orig: str
    resp: str
    service: str
    start: int
    end: int | None
    accounts: tuple[str, ...] = ()
    uids: list[str] = field(default_factory=list)

    @property
    def until(self) -> int:
        """When it is over at the latest."""
        return self.start + SHIFT_US if self.end is None else self.end


@dataclass(slots=True)
class Deed:
    """Work on a controller: what, on which, how often.

    ``routine``: the host does so all day, whoever is on it; ``habit``: it works on that controller at other times, too,
    so that somebody who sits at it may have done it.
    """

    orig: str
    resp: str
    service: str
    operation: str | None
    first: int
    last: int
    count: int
    routine: bool = False
    habit: bool = False


@dataclass(slots=True)
class Visit:
    """What a supplier did in one go. ``place`` is that of its entry in the register, None for nobody's.

    ``legs``: further stays, and whether it must have been this supplier (nobody of our own was there). ``number``: from
    1, by start.
    """

    place: int | None
    entry: Stay
    legs: list[tuple[Stay, bool]] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)
    number: int = 0

    @property
    def end(self) -> int:
        """When it was over, as far as logs tell, µs."""
        if self.entry.end is not None:
            return self.entry.end
        return max([self.entry.start, *(leg.end or leg.start for leg, _ in self.legs), *(d.last for d in self.deeds)])


def plain(account: str) -> str:
    """An account without its domain or realm, in lower case.

    >>> plain("CORP\\\\Ext-One"), plain("ext-one@corp.example"), plain("ext-one/CORP")
    ('ext-one', 'ext-one', 'ext-one')
    """
    return account.lower().rpartition("\\")[2].partition("@")[0].partition("/")[0]


def is_login(account: str, login: str) -> bool:
    """Whether an account in a log is this one; clients of RDP send the first nine characters only."""
    name, wanted = plain(account), plain(login)
    return name == wanted or (len(account) == _COOKIE and bool(name) and wanted.startswith(name))


def stays(contacts: pl.DataFrame) -> list[Stay]:
    """Contacts told as stays, by start."""
    merged: dict[tuple[Any, ...], Stay] = {}
    for row in contacts.iter_rows(named=True):
        key = (row["uid"], row["orig_h"], row["resp_h"]) if row["uid"] else (len(merged), "", "")
        stay = merged.get(key)
        service, connection = row["service"], row["operation"] is None
        if stay is None:
            stay = merged[key] = Stay(row["orig_h"], row["resp_h"], service, row["start"], row["end"])
            stay.uids = [row["uid"]] if row["uid"] else []
        elif connection:
            stay.service, stay.end = service, row["end"]
        elif service in SESSION_SERVICES and stay.service not in SESSION_SERVICES:
            stay.service = service
        stay.start = min(stay.start, row["start"])
        if row["user"] and row["user"] not in stay.accounts:
            stay.accounts = (*stay.accounts, row["user"])
    return list(_followed(sorted(merged.values(), key=_order)))


def named(told: Sequence[Stay]) -> list[Stay]:
    """Stays without tickets, whose accounts are given to the sessions that asked for them.

    A session without an account in its own log has that of the ticket which one of its two hosts asked for within
    `_NEAR_US` of its start.
    """
    asked: dict[str, list[Stay]] = {}
    for stay in told:
        if stay.service == _TICKETS:
            asked.setdefault(stay.orig, []).append(stay)
    kept = [stay for stay in told if stay.service != _TICKETS]
    for stay in kept:
        if not stay.accounts and stay.service in SESSION_SERVICES:
            tickets = [*asked.get(stay.resp, ()), *asked.get(stay.orig, ())]
            stay.accounts = next((t.accounts for t in tickets if abs(t.start - stay.start) <= _NEAR_US), ())
    return kept


def _order(stay: Stay) -> tuple[Any, ...]:
    return stay.start, stay.orig, stay.resp, stay.service, stay.accounts, stay.uids


def _followed(parts: Iterable[Stay]) -> Iterator[Stay]:
    """Stays of which each is all that follows within `GAP_US`, with the same accounts as far as known."""
    last: dict[tuple[str, str, str], Stay] = {}
    kept: list[Stay] = []
    for part in parts:
        before = last.get((part.orig, part.resp, part.service))
        same = before is not None and (not part.accounts or not before.accounts or part.accounts == before.accounts)
        if before is not None and same and part.start <= (before.end or before.start) + GAP_US:
            before.end = max((end for end in (before.end, part.end) if end is not None), default=None)
            before.accounts, before.uids = before.accounts or part.accounts, before.uids + part.uids
        else:
            last[part.orig, part.resp, part.service] = part
            kept.append(part)
    return iter(kept)


class Following:
    """Goes through stays by start and tells whose they are.

    Args:
        agreed: the register.
        servers: domain controllers, which everybody's machine talks to with its user's account.
    """

    def __init__(self, agreed: list[Agreement], servers: Iterable[str]) -> None:
        self._agreed, self._servers = agreed, frozenset(servers)
        self._here: dict[str, list[tuple[Stay, Visit | None]]] = {}
        self._own: set[tuple[str, str]] = set()
        self.visits: list[Visit] = []
        self.others: list[Stay] = []
        """Stays on jump hosts that are nobody's in the register."""

    def follow(self, told: Iterable[Stay]) -> None:
        """Take all stays."""
        for stay in told:
            visit = self._visit(stay)
            session = stay.service in SESSION_SERVICES or visit is not None
            if visit is None and session:
                self._own.add((stay.orig, stay.resp))
            if session and stay.resp not in self._servers:
                self._here.setdefault(stay.resp, []).append((stay, visit))
        for visit in self.visits:
            visit.legs = [(leg, sure or self._led(visit, leg)) for leg, sure in visit.legs]

    def _led(self, visit: Visit, leg: Stay) -> bool:
        """Whether a session follows a supplier's so soon that it is the supplier's, though somebody else is there, too:
        nobody came in between, and our own people do not go that way."""
        came = self.present(leg.orig, leg.start)
        soon = bool(came) and came[-1][1] is visit and leg.start - came[-1][0].start <= _SOON_US
        return soon and (leg.orig, leg.resp) not in self._own

    def _visit(self, stay: Stay) -> Visit | None:
        owner = self._owner(stay)
        by_account = self.of_accounts(stay.accounts)
        if owner is not None:
            return self._begin(
                owner if by_account is None or not self._agreed[by_account].owns(stay.orig) else by_account, stay
            )
        onward = self._onward(stay, by_account)
        if onward is not None:
            visit, sure = onward
            if stay.resp not in self._servers and (stay.service in SESSION_SERVICES or by_account is not None):
                visit.legs.append((stay, sure))
            return visit
        if by_account is not None and stay.resp not in self._servers:
            return self._begin(by_account, stay)
        if any(stay.resp in each.via for each in self._agreed) and stay.service in SESSION_SERVICES:
            self.others.append(stay)
        return None

    def _begin(self, place: int, stay: Stay) -> Visit:
        visit = Visit(place, stay)
        self.visits.append(visit)
        if stay.service in OT_SERVICES:  # it works from its own host
            self._here.setdefault(stay.orig, []).append((stay, visit))
        return visit

    def _owner(self, stay: Stay) -> int | None:
        named = [place for place, each in enumerate(self._agreed) if stay.orig in each.hosts]
        return next(iter([*named, *(p for p, each in enumerate(self._agreed) if stay.orig in each.pools)]), None)

    def of_accounts(self, accounts: Iterable[str]) -> int | None:
        """The first entry that one of these is an account of."""
        for place, each in enumerate(self._agreed):
            if any(is_login(account, login) for account in accounts for login in each.vendor.logins):
                return place
        return None

    def _onward(self, stay: Stay, by_account: int | None) -> tuple[Visit, bool] | None:
        """The visit that a stay belongs to that leaves a host, and whether nobody else was there."""
        there = self.present(stay.orig, stay.start)
        visits = [visit for _, visit in there if visit is not None]
        if by_account is not None:
            visits = [visit for visit in visits if visit.place == by_account]
        elif stay.accounts:
            own = [each for each, visit in there if visit is None]
            if any(set(map(plain, each.accounts)) & set(map(plain, stay.accounts)) for each in own):
                return None
        if not visits:
            return None
        alone = by_account is not None or all(visit is not None for _, visit in there)
        return visits[-1], alone

    def present(self, host: str, time: int) -> list[tuple[Stay, Visit | None]]:
        """Who was on a host at a time, the last to come last."""
        return [(stay, visit) for stay, visit in self._here.get(host, ()) if stay.start <= time <= stay.until]

    def hosts(self) -> set[str]:
        """From which hosts suppliers worked: their own, and those they stayed on."""
        legs = {stay.resp for visit in self.visits for stay, _ in visit.legs}
        return legs | {end for visit in self.visits for end in (visit.entry.orig, visit.entry.resp)}


def work(following: Following, rows: pl.DataFrame, hours: int) -> None:
    """Hands work on controllers to the visits during which it was done.

    Args:
        rows: as `collect.CONTACT`, from hosts that suppliers worked from.
        hours: that the logs span.
    """
    deeds: dict[tuple[int, tuple[Any, ...]], tuple[Visit, Deed]] = {}
    without: dict[tuple[Any, ...], set[int]] = {}
    for row in rows.iter_rows(named=True):
        what = (row["orig_h"], row["resp_h"], row["service"], row["operation"])
        there = following.present(row["orig_h"], row["start"])
        visit = there[-1][1] if there else None  # who comes last to a workstation has it
        if visit is not None:
            _, deed = deeds.setdefault((id(visit), what), (visit, Deed(*what, row["start"], 0, 0)))
            deed.last, deed.count = max(deed.last, row["start"]), deed.count + 1
        else:
            without.setdefault(what, set()).add(row["start"] // _HOUR_US)
    pairs = {what[:2] for what in without}
    for (_, what), (visit, deed) in deeds.items():
        if deed.orig != visit.entry.orig:  # on a host of the plant
            deed.routine = len(without.get(what, ())) > max(_ROUTINE * hours, 2)
            deed.habit = what[:2] in pairs
        visit.deeds.append(deed)

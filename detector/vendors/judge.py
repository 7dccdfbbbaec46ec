"""Visits held against the register: what was not agreed."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from detector.assets.agreements import Agreement
from detector.assets.hosts import OUTSIDE, Hosts
from detector.vendors.visits import Stay, Visit, is_login

TOLERANCE_US: Final = 60_000_000
"""Outside of a window by less is none: clocks of sensors differ, and log-off takes its time."""
_MINUTE_US: Final = 60_000_000
_DAY_US: Final = 86_400_000_000

KINDS: Final = {
    "outside_window": ("came outside of its windows", "high"),
    "overrun": ("stayed longer than its window", "medium"),
    "asset": ("worked on what it may not", "high"),
    "service": ("used a service that was not agreed", "medium"),
    "operation": ("did what it may not", "critical"),
    "direct": ("came past the jump hosts", "high"),
    "expired": ("used access that has ended", "high"),
    "not_yet_valid": ("used access that has not begun", "high"),
    "unknown_source": ("came from where it does not come from", "high"),
    "unknown_account": ("used an account that is not in the register", "medium"),
    "shared_account": ("one account was used from several places at once", "high"),
    "shared_source": ("accounts of several suppliers came from one source", "high"),
    "undeclared": ("looks like a supplier and is not in the register", "high"),
    "unused": ("has access and does not use it", "low"),
}
"""Kind -> words, severity."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that was not agreed; ``visit`` is the number of the visit, None for access that is not used."""

    kind: str
    place: int | None
    visit: int | None
    start: int
    end: int
    src: str
    dst: str
    account: str
    what: str
    minutes: float

    @property
    def severity(self) -> str:
        """How bad that is, by kind."""
        return KINDS[self.kind][1]


def judge(
    visits: Sequence[Visit], agreed: list[Agreement], span: tuple[int, int], unused_days: float
) -> list[Violation]:
    """All violations, by time.

    Args:
        visits: by start, numbered.
        span: first and last time of the logs, µs.
        unused_days: access that was not used for so long, in logs that last as long, is unused.
    """
    found: list[Violation] = []
    for visit in visits:
        if visit.place is not None:
            found += _of_visit(visit, agreed[visit.place])
        else:
            found.append(_violation("undeclared", visit, visit.entry, _names(visit.entry)))
    found += _shared_accounts(visits, agreed)
    found += _shared_sources(visits, agreed)
    found += _unused(visits, agreed, span, unused_days)
    return sorted(found, key=lambda each: (each.start, each.visit or 0, [*KINDS].index(each.kind), each.dst, each.what))


def _of_visit(visit: Visit, agreed: Agreement) -> Iterator[Violation]:
    """Each kind once for a host and what was done there."""
    told: dict[tuple[str, str, str], Violation] = {}
    for each in (*_of_time(visit, agreed), *_of_way(visit, agreed), *_of_work(visit, agreed)):
        told.setdefault((each.kind, "" if each.kind == "service" else each.dst, _said(each)), each)
    yield from told.values()


def _said(violation: Violation) -> str:
    return "" if violation.kind == "asset" else violation.what


def _of_work(visit: Visit, agreed: Agreement) -> Iterator[Violation]:
    legs = [leg for leg, sure in visit.legs if sure]
    for stay in [visit.entry, *legs]:
        if not agreed.service(stay.service):
            yield _violation("service", visit, stay, stay.service)
    for stay in legs if visit.entry.resp in agreed.via else [visit.entry, *legs]:
        if not agreed.asset(stay.resp):
            yield _violation("asset", visit, stay, stay.service)
    for deed in visit.deeds:
        stay = Stay(deed.orig, deed.resp, deed.service, deed.first, deed.last, visit.entry.accounts)
        what = deed.operation
        if not deed.routine and not deed.habit and not agreed.asset(deed.resp):
            yield _violation("asset", visit, stay, what or deed.service)
        if not deed.routine and what is not None and not agreed.operation(deed.service, what):
            yield _violation("operation", visit, stay, what)


def _of_time(visit: Visit, agreed: Agreement) -> Iterator[Violation]:
    entry, start, end = visit.entry, visit.entry.start, visit.end
    if agreed.windows is not None:
        open_ = agreed.windows.spans(start, end)
        outside = end - start - int((open_[:, 1] - open_[:, 0]).sum())
        began = bool(agreed.windows.within(np.array([start]))[0])
        if not began and (outside > TOLERANCE_US or outside == end - start):
            yield _violation("outside_window", visit, entry, "", outside)
        elif began and outside > TOLERANCE_US:
            yield _violation("overrun", visit, entry, "", outside)
    begins, ends = agreed.valid
    if start < begins:
        yield _violation("not_yet_valid", visit, entry, "", min(end, begins) - start)
    if start >= ends or end > ends + TOLERANCE_US:
        yield _violation("expired", visit, entry, "", end - max(start, ends))


def _of_way(visit: Visit, agreed: Agreement) -> Iterator[Violation]:
    entry, vendor = visit.entry, agreed.vendor
    mine = agreed.owns(entry.orig)
    if mine and agreed.via and entry.resp not in agreed.via:
        yield _violation("direct", visit, entry, entry.service)
    away = not mine and entry.orig not in agreed.via  # on a jump host, from before these logs
    if (vendor.hosts or vendor.vpn_pools) and (away or _stranger(entry.orig, agreed)):
        yield _violation("unknown_source", visit, entry, entry.orig)
    unknown = [each for each in entry.accounts if not any(is_login(each, login) for login in vendor.logins)]
    if mine and vendor.logins and entry.accounts and len(unknown) == len(entry.accounts):
        yield _violation("unknown_account", visit, entry, ", ".join(unknown))


def _stranger(address: str, agreed: Agreement) -> bool:
    """In a pool of which single hosts are declared, and none of them."""
    if address in agreed.hosts or address not in agreed.pools:
        return False
    return any("/" not in host and host in agreed.pools for host in agreed.vendor.hosts)


def _shared_accounts(visits: Sequence[Visit], agreed: list[Agreement]) -> Iterator[Violation]:
    """An account in use from another source while it is in use."""
    for login, told in _by_login(visits, agreed).items():
        before: list[Visit] = []
        for visit in told:
            meets = [each for each in before if each.end >= visit.entry.start and each.entry.orig != visit.entry.orig]
            if meets:
                others = ", ".join(sorted({each.entry.orig for each in meets}))
                yield _violation("shared_account", visit, visit.entry, f"{login}: also from {others}")
            before.append(visit)


def _shared_sources(visits: Sequence[Visit], agreed: list[Agreement]) -> Iterator[Violation]:
    """A source that came with accounts of another supplier than the one it belongs to, or than the first."""
    first: dict[str, int] = {}
    for visit in visits:
        whose = [place for place, each in enumerate(agreed) for login in each.vendor.logins
                 if any(is_login(account, login) for account in visit.entry.accounts)]  # fmt: skip
        if not whose:
            continue
        own = [place for place in whose if agreed[place].owns(visit.entry.orig)]
        holder = first.setdefault(visit.entry.orig, own[0] if own else _holder(visit, whose[0], agreed))
        if holder not in whose:
            yield _violation("shared_source", visit, visit.entry, f"also of {agreed[holder].vendor.label}")


def _holder(visit: Visit, first: int, agreed: list[Agreement]) -> int:
    return next((place for place, each in enumerate(agreed) if each.owns(visit.entry.orig)), first)


def _by_login(visits: Sequence[Visit], agreed: list[Agreement]) -> dict[str, list[Visit]]:
    told: dict[str, list[Visit]] = {}
    logins = [login for each in agreed for login in each.vendor.logins]
    for visit in visits:
        for login in logins:
            if any(is_login(account, login) for account in visit.entry.accounts):
                told.setdefault(login, []).append(visit)
    return told


def _unused(
    visits: Sequence[Visit], agreed: list[Agreement], span: tuple[int, int], unused_days: float
) -> Iterator[Violation]:
    first, last = span
    since = last - round(unused_days * _DAY_US)
    for place, each in enumerate(agreed):
        known = max(first, each.valid[0])
        used = max((visit.end for visit in visits if visit.place == place), default=None)
        if known <= since and last < each.valid[1] and (used is None or used < since):
            what = "never used in these logs" if used is None else "not used since"
            login = next(iter(each.vendor.logins), "")
            yield Violation("unused", place, None, used or known, last, "", "", login, what, 0.0)


def lookalikes(others: Sequence[Stay], agreed: list[Agreement], hosts: Hosts, own: Collection[str] = ()) -> list[Visit]:
    """Stays on jump hosts that look like a supplier's and are nobody's in the register.

    From outside, with an account named as suppliers' accounts are (two and more begin alike), or from a declared zone
    in which suppliers' hosts are, unless more strangers than suppliers come from it: then it is people's own.
    Never from ``own``, the known servers.
    """
    others = [stay for stay in others if stay.orig not in own]
    logins = {login for each in agreed for login in each.vendor.logins}
    named = {_prefix(login) for login in logins if sum(_prefix(login) == _prefix(one) for one in logins) > 1} - {""}
    theirs: dict[str, set[str]] = {}
    for each in agreed:
        for place in (*each.vendor.hosts, *each.vendor.vpn_pools):
            zone = hosts[place.partition("/")[0]]
            if zone.level is not None and zone.zone != OUTSIDE:
                theirs.setdefault(zone.zone, set()).add(place)
    strangers: dict[str, set[str]] = {}
    for stay in others:
        strangers.setdefault(hosts[stay.orig].zone, set()).add(stay.orig)
    zones = {zone for zone, places in theirs.items() if len(strangers.get(zone, ())) <= len(places)}
    return [
        Visit(None, stay)
        for stay in others
        if not hosts[stay.orig].inside
        or hosts[stay.orig].zone in zones
        or any(_prefix(account) in named for account in stay.accounts)
    ]


def _prefix(account: str) -> str:
    """What an account begins with up to its first separator: ``ext-`` of ``ext-abc``."""
    for place, letter in enumerate(account.lower()):
        if letter in "-_.":
            return account.lower()[: place + 1] if place > 1 else ""
    return ""


def _names(stay: Stay) -> str:
    return ", ".join(stay.accounts) or stay.orig


def _violation(kind: str, visit: Visit, stay: Stay, what: str, outside: int = 0) -> Violation:
    end = visit.end if stay is visit.entry else stay.end if stay.end is not None else stay.start
    account = ", ".join(stay.accounts or visit.entry.accounts)
    minutes = round(outside / _MINUTE_US, 1)
    return Violation(kind, visit.place, visit.number, stay.start, end, stay.orig, stay.resp, account, what, minutes)

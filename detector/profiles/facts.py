"""From sums to facts: what of `assets.roles.RULES` holds for each host, and what it is about."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from detector.assets.hosts import OUTSIDE
from detector.assets.industrial import MODE, READ
from detector.assets.makers import maker, trade
from detector.assets.operations import facts as facts_of_operation
from detector.assets.operations import is_industrial
from detector.assets.roles import NAME_PARTS
from detector.assets.services import OT_SERVICES
from detector.profiles.collect import GROUP, Collected

_FILES: Final = frozenset({"smb", "netbios-ssn", "nfs", "afp"})
_DATABASES: Final = frozenset(
    ["mssql", "oracle", "mysql", "postgresql", "mongodb", "redis", "db2", "cassandra", "elasticsearch"]
)  # fmt: skip
_WEB: Final = frozenset({"http", "https", "http-alt", "https-alt"})
_MAIL: Final = frozenset(["smtp", "smtps", "submission", "pop3", "pop3s", "imap", "imaps"])
_PROXIES: Final = frozenset({"proxy", "socks"})
_PRINT: Final = frozenset({"jetdirect", "ipp", "printer"})
_DIRECTORY: Final = frozenset(["ldap", "ldaps", "cldap", "global-catalog", "global-catalog-tls"])
_SESSIONS: Final = frozenset(["rdp", "ssh", "vnc", "telnet"])
_EXECUTION: Final = frozenset({"winrm", "winrm-tls", "ssh"})
_CONTROL: Final = OT_SERVICES - {"opcua", "niagara-fox", "niagara-tls", "vxworks-debug"}
_INDUSTRIAL_PROTOCOLS: Final = {"s7comm_plus": "s7comm", "profinet_io_cm": "profinet", "cip": "enip"}

MANY: Final = 3  # clients from which on something is a service for others; one or two may be administrators
_CROWD: Final = 10
_SITES: Final = 3  # web servers inside that are used; fewer may be an agent's
_DESK_GROUPS: Final = 2
_STATIONS: Final = 1 / 3  # of the clients of a server of the plant
_PROBED: Final = 100  # pairs of host and service tried in vain
_PROBED_HOSTS: Final = 20
_RUNS_ON: Final = 20
_POLL_SHARE: Final = 0.5  # of the time a host was seen, in conversations with one controller
_GIGABYTE: Final = 1_000_000_000
_BEHIND_ROUTER: Final = 4  # addresses with one hardware address from which on it is a router's
_NAME_HEAD: Final = re.compile(r"[a-z]+")
_BROWSER: Final = re.compile(r"Mozilla/|Chrome/|Firefox/|Edg/", re.IGNORECASE)


@dataclass(slots=True)
class Use:
    """A service as one host offers or uses it: with how many and with whom, how often, how much, when (µs)."""

    peers: dict[str, int] = field(default_factory=dict)
    count: int = 0
    sent: int = 0
    received: int = 0
    busy_ms: int = 0
    longest_ms: int = 0
    first: int = 0
    last: int = 0


@dataclass(slots=True)
class Profile:
    """All that was seen of a host.

    Args:
        offered, used: service -> how.
        tried: pairs of host and service that never answered it, and how many hosts.
        asked, answered: (protocol, operation) -> peers, of plant and office protocols alike.
        said: kind -> statements with their log and how often.
        more: kinds of which statements were left out.
        ot: protocol and side, such as ``modbus server``.
    """

    address: str
    offered: dict[str, Use] = field(default_factory=lambda: defaultdict(Use))
    used: dict[str, Use] = field(default_factory=lambda: defaultdict(Use))
    tried: int = 0
    tried_hosts: int = 0
    asked: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    answered: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    said: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    logs: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    more: set[str] = field(default_factory=set)
    ot: set[str] = field(default_factory=set)
    first: int | None = None
    last: int | None = None
    routed: int = 0

    def seen(self, first: int, last: int) -> None:
        """Widen the time the host was seen in."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def values(self, kind: str) -> list[str]:
        """Statements of a kind, those made most often first."""
        return [value for value, _ in sorted(self.said[kind].items(), key=lambda item: (-item[1], item[0]))]

    def peers(self, services: Iterable[str], *, offered: bool) -> set[str]:
        """Who uses any of these services of the host, or of whom the host uses them."""
        uses = self.offered if offered else self.used
        return {peer for service in services if service in uses for peer in uses[service].peers}

    def others(self) -> set[str]:
        """Everybody it had to do with."""
        return self.peers(self.offered, offered=True) | self.peers(self.used, offered=False)


_Profiles = Callable[[str], Profile]


def profiles(collected: Collected) -> dict[str, Profile]:
    """Address -> what was seen of it, in order of addresses as text. Only hosts that spoke, or of whom a log says that
    they are there: an address that somebody tried in vain is none."""
    found: dict[str, Profile] = {}

    def of(address: str) -> Profile:
        return found.setdefault(address, Profile(address))

    for row in collected.edges.iter_rows(named=True):
        _converse(row, of)
    _try(collected.attempts, of)
    for orig, resp, protocol, operation, _, first, last in collected.acts.iter_rows():
        for host, peer, side in ((orig, resp, "asked"), (resp, orig, "answered")):
            if host not in (OUTSIDE, GROUP):
                profile = of(host)
                getattr(profile, side)[protocol, operation].add(peer)
                profile.seen(first, last)
    _state(collected.sightings, of)
    for profile in found.values():
        _ot_sides(profile)
    return dict(sorted(found.items()))


def _converse(row: dict[str, int | str], of: _Profiles) -> None:
    orig, resp, service = str(row["orig_h"]), str(row["resp_h"]), str(row["service"])
    ends = ((orig, resp, "used", "orig_bytes", "resp_bytes"), (resp, orig, "offered", "resp_bytes", "orig_bytes"))
    for host, peer, side, sent, received in ends:
        if host in (OUTSIDE, GROUP):
            continue
        profile = of(host)
        profile.seen(int(row["first"]), int(row["last"]))
        if peer == GROUP:
            continue
        uses = profile.used if side == "used" else profile.offered
        new, use = service not in uses, uses[service]
        count, busy = int(row["count"]), int(row["busy_ms"])
        use.peers[peer] = use.peers.get(peer, 0) + count
        use.count, use.busy_ms, use.longest_ms = use.count + count, use.busy_ms + busy, max(use.longest_ms, busy)
        use.sent, use.received = use.sent + int(row[sent]), use.received + int(row[received])
        use.first = int(row["first"]) if new else min(use.first, int(row["first"]))
        use.last = int(row["last"]) if new else max(use.last, int(row["last"]))


def _try(attempts: pl.DataFrame, of: _Profiles) -> None:
    tried = attempts.filter(~pl.col("orig_h").is_in([OUTSIDE, GROUP]) & (pl.col("resp_h") != GROUP))
    by_host = tried.group_by("orig_h").agg(
        pl.len(), hosts=pl.col("resp_h").n_unique(), first=pl.col("first").min(), last=pl.col("last").max()
    )
    for host, pairs, hosts, first, last in by_host.iter_rows():
        profile = of(host)
        profile.tried, profile.tried_hosts = pairs, hosts
        profile.seen(first, last)


def _state(sightings: pl.DataFrame, of: _Profiles) -> None:
    """Statements to the hosts they are about; one about a certificate or hardware address to all who have it."""
    owners: dict[str, list[str]] = defaultdict(list)
    for host, kind, value in sightings.select("host", "kind", "value").unique(maintain_order=True).iter_rows():
        if kind in {"mac", "certificate_of"}:
            owners[value].append(host)
    hops = Counter(sightings.filter(pl.col("kind") == "next_hop")["value"].to_list())
    for host, kind, value, log, first, last, count, more in sightings.select(
        "host", "kind", "value", "log", "first", "last", "count", "more"
    ).iter_rows():
        for address in owners.get(host, [host] if _is_address(host) else []):
            profile = of(address)
            if kind == "next_hop" and hops[value] >= _BEHIND_ROUTER:
                continue  # a router's, not its own
            told = "mac" if kind == "next_hop" else kind
            profile.said[told][value] += count
            profile.logs[told, value].add(log)
            profile.seen(first, last)
            if more:
                profile.more.add(told)
    _routers(sightings, hops, of)


def _routers(sightings: pl.DataFrame, hops: Counter[str], of: _Profiles) -> None:
    """Whose own hardware address, as DHCP or ARP tell it, stands for many addresses, forwards for them."""
    own = sightings.filter(pl.col("kind") == "mac").select("host", "value").unique(maintain_order=True)
    for host, value in own.iter_rows():
        if hops[value] >= _BEHIND_ROUTER:
            of(host).routed = hops[value]


def _is_address(text: str) -> bool:
    return text.count(".") == 3 or (text.count(":") >= 2 and not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", text))


def _ot_sides(profile: Profile) -> None:
    for side, uses, acts in (("client", profile.used, profile.asked), ("server", profile.offered, profile.answered)):
        profile.ot.update(f"{service} {side}" for service in uses if service in OT_SERVICES)
        for protocol, _ in acts:
            if is_industrial(protocol):
                profile.ot.add(f"{_INDUSTRIAL_PROTOCOLS.get(protocol, protocol)} {side}")
    profile.ot.update(profile.said["ot"])


def facts(profile: Profile, everybody: dict[str, Profile]) -> dict[str, str]:
    """Fact -> what it is about, in words."""
    found = (
        _served(profile) | _controls(profile, everybody) | _sessions(profile, everybody) | _habits(profile, everybody)
    )
    return found | _claims(profile)


def _hosts(peers: set[str], least: int = 1) -> str | None:
    """``3 hosts``, or None when they are fewer than ``least``."""
    count = len(peers)
    return None if count < least else f"{count} hosts" if count > 1 else "1 host"


def _only(found: dict[str, str | None]) -> dict[str, str]:
    return {fact: about for fact, about in found.items() if about is not None}


def _served(profile: Profile) -> dict[str, str]:
    def by(services: Iterable[str], least: int = 1) -> str | None:
        return _hosts(profile.peers(services, offered=True), least)

    shares = {
        peer
        for (protocol, operation), peers in profile.answered.items()
        if protocol == "smb" and _share_class(operation) not in {"ADMIN$", "C$", "IPC$", "SYSVOL", "NETLOGON", ""}
        for peer in peers
    }
    policy = {
        peer
        for (protocol, operation), peers in profile.answered.items()
        if protocol == "smb" and _share_class(operation) in {"SYSVOL", "NETLOGON"}
        for peer in peers
    }
    return _only(
        {
            "serves_kerberos": by({"kerberos", "kpasswd"}),
            "serves_directory": by(_DIRECTORY),
            "serves_policy": _hosts(policy),
            "serves_dns": by({"dns"}, 2),
            "serves_dhcp": "" if "udp/67" in profile.said["service"] or by({"dhcp"}) else None,
            "serves_ntp": by({"ntp"}),
            "serves_files": by(_FILES, _CROWD),
            "serves_shares": _hosts(shares, MANY),
            "serves_database": by(_DATABASES),
            "serves_web": by(_WEB, MANY),
            "serves_web_widely": by(_WEB, _CROWD),
            "serves_mail": by(_MAIL),
            "serves_proxy": by(_PROXIES),
            "serves_updates": by({"wsus", "wsus-tls"}, 2),
            "serves_print": by(_PRINT),
            "serves_video": by({"rtsp"}),
            "serves_opcua": by({"opcua"}),
            "serves_historian": by({"pi-server"}),
            "serves_routing": by({"bgp", "rip"}),
        }
    )


def _share_class(operation: str) -> str:
    return operation.split(":")[1] if operation.count(":") else ""


def _controls(profile: Profile, everybody: dict[str, Profile]) -> dict[str, str]:
    """What a host has to do with controllers."""
    servers = sorted(side for side in profile.ot if side.endswith(" server") and not side.startswith("opcua"))
    clients = sorted(side for side in profile.ot if side.endswith(" client") and not side.startswith("opcua"))
    found: dict[str, str | None] = {}
    if servers:
        found["serves_ot"] = ", ".join(side.removesuffix(" server") for side in servers)
    if profile.offered and not profile.used:
        found["begins_nothing"] = ""
    if clients:
        found |= _asks(profile, ", ".join(side.removesuffix(" client") for side in clients))
    found["asks_many_opcua"] = _hosts(profile.peers({"opcua"}, offered=False), 2)
    stations = {
        peer
        for peer in profile.peers(_WEB, offered=True)
        if peer in everybody and not clients and _near_controllers(everybody[peer])
    }
    clients_of_web = profile.peers(_WEB, offered=True)
    found["serves_stations"] = _hosts(stations, 2) if len(stations) >= _STATIONS * len(clients_of_web) else None
    feeders = {
        peer
        for peer in profile.peers(_DATABASES, offered=True)
        if peer in everybody and not clients and _near_controllers(everybody[peer])
    }
    found["feeds_office"] = _hosts(feeders)
    return _only(found)


def _near_controllers(profile: Profile) -> bool:
    return any(side.endswith(" client") or side == "opcua server" for side in profile.ot)


def _asks(profile: Profile, protocols: str) -> dict[str, str | None]:
    """How a host asks controllers: all the time or now and then, reading, writing or programming."""
    found: dict[str, str | None] = {"asks_ot": protocols}
    controllers = profile.peers(_CONTROL, offered=False) | {
        peer
        for (protocol, _), peers in profile.asked.items()
        if is_industrial(protocol) and protocol != "opcua"
        for peer in peers
    }
    consequences = Counter[int]()
    for (protocol, operation), peers in profile.asked.items():
        if is_industrial(protocol) and protocol != "opcua":
            consequences[facts_of_operation(protocol, operation).consequence or READ] += len(peers)
    programs, writes = sum(n for kappa, n in consequences.items() if kappa >= MODE), consequences[1] + consequences[2]
    uses = [profile.used[service] for service in _CONTROL if service in profile.used]
    span = max((profile.last or 0) - (profile.first or 0), 1) / 1000
    share = max((use.longest_ms for use in uses), default=0) / span
    talks = sum(use.count for use in uses)
    found["programs"] = _hosts(controllers) if programs else None
    found["writes_ot"] = _hosts(controllers) if writes else None
    if share >= _POLL_SHARE:
        found["polls"] = f"{min(share, 1):.0%} of the time with one of them"
    elif talks and talks / max(len(controllers), 1) < _SELDOM * span / _DAY_MS + 2:
        found["works_now_and_then"] = f"{talks} times in all"
    if consequences and not writes and not programs:
        found["reads_many"] = _hosts(controllers, _CROWD // 2)
    return found


_SELDOM: Final = 24  # conversations a day with each controller; who collects or polls has more
_DAY_MS: Final = 86_400_000


def _sessions(profile: Profile, everybody: dict[str, Profile]) -> dict[str, str]:
    into, out = profile.peers(_SESSIONS, offered=True), profile.peers(_SESSIONS, offered=False)
    plant = {peer for peer in out if peer in everybody and _near_controllers(everybody[peer])}
    found = {
        "takes_sessions": _hosts(into, 2),
        "passes_sessions": _hosts(out) if into and out else None,
        "reaches_plant": _hosts(plant) if into else None,
    }
    jumps = {peer for peer in out if peer in everybody and any(everybody[peer].peers(_SESSIONS, offered=False))}
    others = [service for service in profile.used if service not in _SESSIONS and not _background(service)]
    if jumps and len(others) <= 1 and not profile.peers(_FILES | _PRINT | _MAIL, offered=False):
        found["only_sessions"] = _hosts(out)
    return _only(found)


def _background(service: str) -> bool:
    """What systems do by themselves."""
    return service in {"dns", "ntp", "kerberos", "icmp", "dhcp", "mdns", "llmnr", "netbios-ns", "ssdp"}


def _desk(profile: Profile, everybody: dict[str, Profile]) -> list[str]:
    """Of what people use at a desk, what the host uses. Members of a domain read policies at its controllers."""
    files = profile.peers(_FILES, offered=False) - profile.peers({"kerberos"}, offered=False)
    sites = {peer for peer in profile.peers(_WEB, offered=False) if peer in everybody}
    used = {
        "files": bool(files),
        "mail": bool(profile.peers(_MAIL, offered=False)),
        "printers": bool(profile.peers(_PRINT, offered=False)),
        "the web": bool(profile.peers(_PROXIES, offered=False)) or len(sites) >= _SITES,
    }
    return [name for name, uses in used.items() if uses]


def _habits(profile: Profile, everybody: dict[str, Profile]) -> dict[str, str]:
    """What a host does towards others."""
    desk = _desk(profile, everybody)
    run_on = profile.peers(_EXECUTION, offered=False) | {
        peer
        for (protocol, operation), peers in profile.asked.items()
        if protocol == "dce_rpc" and operation in {"svcctl::CreateServiceW", "svcctl::StartServiceW"}
        for peer in peers
    }
    copies = {
        peer
        for (_, operation), peers in profile.asked.items()
        if operation == "drsuapi::DRSGetNCChanges"
        for peer in peers
    }
    kerberos = profile.peers({"kerberos"}, offered=True)
    received = sum(use.received for use in profile.used.values())
    sources = {peer for use in profile.used.values() if use.received > _GIGABYTE for peer in use.peers}
    found = {
        "desk": ", ".join(desk) if len(desk) >= _DESK_GROUPS else None,
        "prints": _hosts(profile.peers(_PRINT, offered=False)),
        "watches": _hosts(profile.peers({"snmp"}, offered=False), _CROWD),
        "runs_remotely": _hosts(run_on, _RUNS_ON),
        "copies_directory": _hosts(copies) if not kerberos else None,
        "fetches_much": _hosts(sources, _CROWD)
        if received > len(sources) * _GIGABYTE and received > 20 * sum(use.sent for use in profile.used.values())
        else None,
        "probes": f"{profile.tried}" if profile.tried >= _PROBED and profile.tried_hosts >= _PROBED_HOSTS else None,
    }
    return _only(found)


def _claims(profile: Profile) -> dict[str, str]:
    """What the host, or others, say of it."""
    found: dict[str, str | None] = {}
    if profile.said["lease"]:
        found["leases"] = ""
    found["browses"] = next((agent for agent in profile.values("user_agent") if _BROWSER.search(agent)), None)
    kinds = profile.values("software_type")
    found["says_server"] = next((kind for kind in kinds if kind.endswith("SERVER") and kind.startswith("HTTP")), None)
    found["says_browser"] = next((kind for kind in kinds if kind.endswith("BROWSER")), None)
    found["device_controller"] = next(
        (told for told in profile.values("device") if not told.startswith(_NO_DEVICE)), None
    )
    if profile.routed:
        found["is_router"] = str(profile.routed)
    elif profile.said["router"]:
        found["is_router"] = "other"
    for mac in profile.values("mac")[:1]:
        made_by = maker(mac)
        kind = trade(made_by)
        if made_by and kind:
            found[f"made_for_{kind}"] = made_by
    for name in names(profile):
        head = _NAME_HEAD.match(name.lower())
        for role, parts in NAME_PARTS.items():
            if head and head[0] in parts:
                found.setdefault(f"named_{role}", name)
    return _only(found)


_NO_DEVICE: Final = ("SNMP ", "OPC UA ", "DHCP class ")


def names(profile: Profile) -> list[str]:
    """Names of the host, without what is the same to the first dot: those it goes by most often first."""
    found: dict[str, str] = {}
    for kind in ("hostname", "dns_name", "tls_name"):
        for value in profile.values(kind):
            found.setdefault(value.partition(".")[0].lower(), value)
    return list(found.values())

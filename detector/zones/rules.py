"""A proposal as files: a plant file, rules for nftables, and rules as a table that any firewall's import can take.

Names of zones are our own; services come out of logs as names of `assets.services` or ports. Nothing else of a log is
written into rules.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import yaml

from detector.assets import services
from detector.assets.hosts import OUTSIDE
from detector.assets.plant import PORTS
from detector.renderings.tables import csv_text
from detector.zones.grouping import Group
from detector.zones.model import Proposed

RULE_COLUMNS: Final = (
    "from_zone",
    "to_zone",
    "sources",
    "destinations",
    "protocol",
    "ports",
    "action",
    "service",
    "note",
)

_ALL: Final = "zones"  # the set of all zones
_WORDS: Final = {"ipv4": "ip", "ipv6": "ip6"}


def as_plant(groups: Sequence[Group], conduits: Sequence[Proposed]) -> str:
    """The plant file as YAML; comments say what was seen."""
    lines = ["# Proposed from logs: read it, name it, and take it over piece by piece."]
    for section, items in _sections(groups, conduits).items():
        lines += [f"{section}:" if items else f"{section}: []", *(f"  {item}" for item in items)]
    return "\n".join(lines) + "\n"


def added(text: str, groups: Sequence[Group], conduits: Sequence[Proposed]) -> str:
    """A plant file with what is proposed at the head of its sections; all else stays as it is, comments too. A section
    that is not written one item a line is written anew."""
    for section, items in _sections(groups, conduits).items():
        document = yaml.compose(text, yaml.SafeLoader)
        nodes = {key.value: (key, value) for key, value in document.value} if document is not None else {}
        lines = text.splitlines()
        if not items:
            continue
        if section not in nodes:
            text = "\n".join([*lines, f"{section}:", *(f"  {item}" for item in items)]) + "\n"
        elif isinstance(nodes[section][1], yaml.SequenceNode) and not nodes[section][1].flow_style:
            key, value = nodes[section]
            place, indent = key.end_mark.line + 1, " " * value.start_mark.column
            text = "\n".join([*lines[:place], *(f"{indent}{item}" for item in items), *lines[place:]]) + "\n"
        else:
            content = yaml.safe_load(text)
            content[section] = [*(content[section] or []), *yaml.safe_load("\n".join(items))]
            text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def _sections(groups: Sequence[Group], conduits: Sequence[Proposed]) -> dict[str, list[str]]:
    """Lines of the items of both sections, with comments, without indentation."""
    zones, ways = [], []
    ours = {OUTSIDE, *(group.name for group in groups)}
    for group in groups:
        what = ", ".join(f"{count} {role}" for role, count in group.roles.items())
        where = [f"cidrs: [{', '.join(map(json.dumps, group.networks))}]"] if group.networks else []
        where += [f"hosts: [{', '.join(map(json.dumps, group.hosts))}]"] if group.hosts else []
        zones.append(f"# {len(group.members)} hosts seen: {what}")
        zones.append(f"- {{name: {group.name}, purdue_level: {group.level:g}, {', '.join(where)}}}")
    for one in conduits:
        ways.append(f"# {one.pairs} pairs of hosts, {one.count} times in {one.hours} different hours")
        ways += [f"#   {pair}" for pair in one.hosts]
        names = ", ".join(map(json.dumps, one.services))
        acts = f", operations: [{', '.join(one.operations)}]" if one.operations else ""
        begin, end = (zone if zone in ours else json.dumps(zone) for zone in (one.from_zone, one.to_zone))
        ways.append(f"- {{from: {begin}, to: {end}, services: [{names}]{acts}}}")
    return {"zones": zones, "conduits": ways}


def as_table(groups: Sequence[Group], conduits: Sequence[Proposed]) -> str:
    """One rule a line, in CSV: networks and hosts have semicolons between, ports too."""
    where = {group.name: "; ".join((*group.networks, *group.hosts)) for group in groups} | {OUTSIDE: "any"}
    rows: list[list[str]] = []
    for one in conduits:
        note = f"only operations that are {', '.join(one.operations)}: needs deep inspection" if one.operations else ""
        for service in one.services:
            for protocol, ports in matches(service).items():
                ways = (where[one.from_zone], where[one.to_zone])
                rows.append([one.from_zone, one.to_zone, *ways, protocol, "; ".join(ports), "permit", service, note])
    return csv_text(RULE_COLUMNS, rows)


def matches(service: str) -> Mapping[str, list[str]]:
    """Protocol -> ports of a service; a protocol without ports has none.

    >>> matches("dns"), matches("tcp/8443"), matches("icmp")
    ({'tcp': ['53'], 'udp': ['53']}, {'tcp': ['8443']}, {'icmp': []})
    """
    ports = PORTS.fullmatch(service)
    if ports is not None:
        return {ports[1]: [ports[2] if ports[3] is None else f"{ports[2]}-{ports[3]}"]}
    found = {
        proto: [str(port) for port in sorted(known) if services.token(proto, port) == service]
        for proto, known in services.SERVICE_PORTS.items()
    }
    return {proto: listed for proto, listed in found.items() if listed} or {service: []}


def as_nftables(groups: Sequence[Group], conduits: Sequence[Proposed]) -> str:
    """A table for a router between the zones (nft 1.0): what is proposed passes, the rest between zones is counted,
    logged and dropped. Operations of plant protocols are beyond it."""
    lines = ["table inet eastwest {"]
    sides = {group.name: _families(group.networks + group.hosts) for group in groups}
    sides[_ALL] = _families([place for group in groups for place in (*group.networks, *group.hosts)])
    for name, families in sides.items():
        for family, elements in families.items():
            listed = ", ".join(elements)
            lines.append(f"  set {name}_{family} {{ type {family}_addr; flags interval; elements = {{ {listed} }} }}")
    lines += ["  chain forward {", "    type filter hook forward priority filter; policy accept;"]
    lines.append("    ct state established,related accept")
    for name, families in sides.items():
        for family in families if name != _ALL else ():
            word = _WORDS[family]
            lines.append(f"    {word} saddr @{name}_{family} {word} daddr @{name}_{family} accept")
    for one in conduits:
        for family in ("ipv4", "ipv6"):
            ends = _ends(one, family, sides)
            if ends is not None:
                lines += [f"    {ends} {rule} accept" for rule in _matches(one.services)]
    for family in sides[_ALL]:
        for side in ("saddr", "daddr"):
            lines.append(f'    {_WORDS[family]} {side} @{_ALL}_{family} counter log prefix "eastwest " drop')
    return "\n".join([*lines, "  }", "}"]) + "\n"


def _families(places: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for place in places:
        found.setdefault("ipv6" if ":" in place else "ipv4", []).append(place)
    return found


def _ends(one: Proposed, family: str, sides: Mapping[str, Mapping[str, list[str]]]) -> str | None:
    """Where a rule holds; None where a zone has no address of the family. Outside is what is in no zone."""
    word, parts = _WORDS[family], []
    for zone, side in ((one.from_zone, "saddr"), (one.to_zone, "daddr")):
        known = _ALL if zone == OUTSIDE else zone
        if family not in sides[known]:
            return None
        parts.append(f"{word} {side} {'!= ' if zone == OUTSIDE else ''}@{known}_{family}")
    return " ".join(parts)


def _matches(names: Sequence[str]) -> list[str]:
    by_protocol: dict[str, list[str]] = {}
    for name in names:
        for protocol, ports in matches(name).items():
            by_protocol.setdefault(protocol, []).extend(ports)
    rules = []
    for protocol, ports in by_protocol.items():
        if protocol in ("tcp", "udp") and ports:
            rules.append(f"{protocol} dport {{ {', '.join(ports)} }}")
        elif protocol == "icmp":
            rules.append("meta l4proto { icmp, ipv6-icmp }")
        # What has no port and no name in nftables is left to whoever reviews the proposal: rules.csv lists it.
    return rules

"""What a host is for, from what it does: roles, and how much each fact about a host speaks for each of them.

Facts are weighed as evidence: a weight is a log-likelihood ratio in nats, about how many times (e to the weight) more
often hosts of the role show the fact than others do. A role's score is the sum of its weights over the facts that
hold; confidences are the softmax of the scores (Bayes' rule with equal priors). `UNKNOWN` takes part with a fixed
score: what says little about everything leaves a host unknown. Weights are set by hand from what the sources say of
products and protocols, and corrected where simulated plants showed one to be wrong.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import exp
from typing import Final

UNKNOWN: Final = "unknown"
UNKNOWN_SCORE: Final = 1.2
"""What an unknown host scores: a single weak sign, such as a name (0.8), is not enough."""
SURELY: Final = 3.0  # nats; about 20 to 1
LIKELY: Final = 2.0  # about 7 to 1
RATHER: Final = 1.0  # about 3 to 1
HINT: Final = 0.8  # a name or maker that the host's owner chose, or somebody else claims


@dataclass(frozen=True, slots=True)
class Role:
    """A kind of host.

    Args:
        name: as it is written out.
        level: the Purdue level where such hosts usually stand (ISA-95; IEC 62443-1-1), None = anywhere.
        importance: 1 to 4, as of hosts in alerts: 4 opens others or moves the process.
        words: for people.
    """

    name: str
    level: float | None
    importance: int
    words: str


ROLES: Final[dict[str, Role]] = {
    role.name: role
    for role in (
        Role("domain_controller", 4, 4, "domain controller"),
        Role("dns_server", 4, 3, "name server"),
        Role("dhcp_server", 4, 3, "DHCP server"),
        Role("ntp_server", 4, 3, "time server"),
        Role("file_server", 4, 3, "file server"),
        Role("database", 4, 3, "database server"),
        Role("web_server", 4, 2, "web or application server"),
        Role("mail_server", 4, 3, "mail server"),
        Role("proxy", 4, 3, "web proxy"),
        Role("management_server", 4, 4, "deployment, monitoring or orchestration server"),
        Role("backup_server", 4, 4, "backup server"),
        Role("scanner", 4, 3, "vulnerability scanner"),
        Role("jump_host", 3.5, 4, "jump host"),
        Role("vendor_gateway", 4, 3, "supplier's access"),
        Role("workstation", 4, 1, "workstation"),
        Role("printer", 4, 1, "printer"),
        Role("iot", 4, 1, "camera or other thing"),
        Role("network_device", None, 3, "router, switch or firewall"),
        Role("historian", 3, 3, "historian"),
        Role("scada_server", 3, 4, "SCADA or MES server"),
        Role("engineering_workstation", 3, 4, "engineering workstation"),
        Role("hmi", 2, 3, "operator panel (HMI)"),
        Role("plc", 1, 4, "controller (PLC or RTU)"),
    )
}
"""Name -> role."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a fact says.

    Args:
        words: the fact in words; ``{}`` is what it is about, such as a number of clients.
        weights: role -> nats; negative = against.
        source: where it is known from.
    """

    words: str
    weights: Mapping[str, float]
    source: str


_IANA: Final = "IANA service names and ports"
_SERVERS: Final = ("dns_server", "file_server", "database", "web_server", "mail_server", "proxy")
_PLANT: Final = ("historian", "scada_server", "engineering_workstation", "hmi")

RULES: Final[dict[str, Rule]] = {
    "serves_kerberos": Rule(
        "issues Kerberos tickets to {}",
        {"domain_controller": 2 * SURELY},
        "RFC 4120; Microsoft: service overview and network port requirements for Windows",
    ),
    "serves_directory": Rule(
        "answers directory queries (LDAP) of {}",
        {"domain_controller": LIKELY},
        "RFC 4511; Microsoft: service overview and network port requirements for Windows",
    ),
    "serves_policy": Rule(
        "offers the shares SYSVOL or NETLOGON to {}",
        {"domain_controller": SURELY},
        "Microsoft MS-GPOL 1.3",
    ),
    "serves_dns": Rule("answers name queries of {}", {"dns_server": SURELY, "domain_controller": RATHER}, "RFC 1035"),
    "serves_dhcp": Rule("hands out addresses", {"dhcp_server": SURELY, "domain_controller": HINT}, "RFC 2131"),
    "serves_ntp": Rule("tells the time to {}", {"ntp_server": LIKELY, "domain_controller": RATHER}, "RFC 5905"),
    "serves_files": Rule(
        "offers files to {}",
        {"file_server": SURELY},
        "Microsoft MS-SMB2; RFC 1813 (NFS)",
    ),
    "serves_shares": Rule(
        "its shares are opened by {}, not only the administrative ones", {"file_server": SURELY}, "Microsoft MS-SMB2"
    ),
    "serves_database": Rule("answers database queries of {}", {"database": SURELY}, _IANA),
    "serves_web": Rule("serves web pages to {}", {"web_server": LIKELY, "proxy": -HINT}, "RFC 9110"),
    "serves_web_widely": Rule(
        "they are many ({})", {"web_server": LIKELY}, "a database behind its own pages has few clients of its own"
    ),
    "serves_mail": Rule("takes mail from {}", {"mail_server": 2 * SURELY}, "RFC 5321, RFC 9051"),
    "serves_proxy": Rule("forwards web requests of {}", {"proxy": 2 * SURELY}, "RFC 9110 section 3.7; RFC 1928"),
    "serves_updates": Rule(
        "hands out updates to {}", {"management_server": SURELY}, "Microsoft: WSUS listens on 8530 and 8531"
    ),
    "serves_print": Rule("takes print jobs from {}", {"printer": 2 * SURELY}, "RFC 1179 (515), RFC 8011 (631), 9100"),
    "serves_video": Rule("offers video (RTSP) to {}", {"iot": 2 * SURELY}, "RFC 7826"),
    "serves_opcua": Rule(
        "offers values over OPC UA to {}", {"hmi": LIKELY, "scada_server": LIKELY, "plc": RATHER}, "OPC 10000-6"
    ),
    "serves_historian": Rule("offers process history to {}", {"historian": 2 * SURELY}, "AVEVA: PI uses port 5450"),
    "serves_ot": Rule(
        "is asked over plant protocols ({}) and answers",
        {"plc": 2 * SURELY, "workstation": -SURELY},
        "Modbus, DNP3, S7comm, CIP, BACnet, IEC 104: servers are controllers and outstations",
    ),
    "begins_nothing": Rule(
        "never begins a conversation itself",
        {"plc": RATHER, "printer": RATHER},  # by itself it says little: many a server in short logs does not either
        "controllers answer",
    ),
    "asks_ot": Rule(
        "asks controllers over plant protocols ({})",
        {"hmi": LIKELY, "engineering_workstation": RATHER, "historian": RATHER, "scada_server": RATHER}
        | dict.fromkeys(("workstation", *_SERVERS), -RATHER),
        "Modbus, DNP3, S7comm, CIP, BACnet, IEC 104: clients are panels, stations and servers of the plant",
    ),
    "polls": Rule(
        "is in touch with controllers most of the time ({})",
        {"hmi": LIKELY, "scada_server": RATHER, "engineering_workstation": -LIKELY},
        "NIST SP 800-82r3: supervisory control polls; engineering is now and then",
    ),
    "writes_ot": Rule(
        "writes to controllers ({})",
        {"hmi": RATHER, "scada_server": RATHER, "historian": -RATHER},
        "NIST SP 800-82r3: operators set values, historians collect",
    ),
    "reads_many": Rule(
        "only reads, from {}",
        {"historian": SURELY, "hmi": -RATHER, "scada_server": RATHER},
        "NIST SP 800-82r3: historians collect from many control devices",
    ),
    "asks_many_opcua": Rule(
        "collects values over OPC UA from {}", {"historian": LIKELY, "scada_server": RATHER}, "OPC 10000-11"
    ),
    "programs": Rule(
        "loads, stops or starts controllers ({})",
        {"engineering_workstation": 2 * SURELY},
        "ATT&CK for ICS T0843, T0858: what engineering software does",
    ),
    "works_now_and_then": Rule(
        "asks controllers in sessions, not all the time ({})",
        {"engineering_workstation": SURELY, "hmi": -RATHER},
        "NIST SP 800-82r3: engineering is now and then",
    ),
    "serves_stations": Rule(
        "serves web pages to hosts that talk to controllers ({})",
        {"scada_server": SURELY},
        "ISA-95: operations management between office and cells",
    ),
    "feeds_office": Rule(
        "takes values from hosts that talk to controllers ({})",
        {"historian": SURELY},
        "NIST SP 800-82r3: history is mirrored towards the office",
    ),
    "takes_sessions": Rule("is worked on remotely from {}", {"jump_host": RATHER}, "RDP, SSH, VNC"),
    "passes_sessions": Rule(
        "is worked on remotely, and from it others are ({})",
        {"jump_host": SURELY, "workstation": -RATHER},
        "NIST SP 800-82r3: access through an intermediate host",
    ),
    "reaches_plant": Rule(
        "opens sessions on hosts that talk to controllers ({})",
        {"jump_host": SURELY},
        "NIST SP 800-82r3: access through an intermediate host",
    ),
    "only_sessions": Rule(
        "does little but open remote sessions on jump hosts ({})",
        {"vendor_gateway": 2 * SURELY, "workstation": -LIKELY},
        "IEC 62443-2-4 SP.07: suppliers come in by remote access",
    ),
    "probes": Rule(
        "tries {} ports and hosts, most in vain", {"scanner": 2 * SURELY, "workstation": -RATHER}, "ATT&CK T1046"
    ),
    "watches": Rule("asks {} for their state (SNMP)", {"management_server": SURELY}, "RFC 3411"),
    "runs_remotely": Rule(
        "runs commands on {} (services, WinRM, SSH)",
        {"management_server": SURELY, "jump_host": -LIKELY, "workstation": -HINT},
        "ATT&CK T1072, T1021: deployment does what intruders do",
    ),
    "copies_directory": Rule(
        "copies the directory from {} and issues no tickets",
        {"management_server": SURELY},
        "Microsoft MS-DRSR; directory synchronisation",
    ),
    "fetches_much": Rule("fetches gigabytes from {}", {"backup_server": 2 * SURELY}, "backup pulls everything"),
    "desk": Rule(
        "uses what people at a desk use: {}",
        {"workstation": SURELY, "vendor_gateway": -LIKELY, "printer": -LIKELY, "jump_host": -LIKELY},
        "files, mail, printing, the web: what servers seldom use side by side",
    ),
    "prints": Rule("prints on {}", {"workstation": RATHER, "printer": -LIKELY}, "servers seldom print, printers never"),
    "browses": Rule(
        "browses the web ({})", {"workstation": RATHER}, "RFC 9110 section 10.1.5: user agents of browsers"
    ),
    "leases": Rule(
        "gets its address from a DHCP server",
        {"workstation": RATHER, "printer": HINT, "iot": HINT} | dict.fromkeys(_SERVERS, -HINT),
        "RFC 2131; servers have fixed addresses",
    ),
    "says_server": Rule("says that it is a server of kind {}", {"web_server": HINT}, "Zeek software.log"),
    "says_browser": Rule("says that it is a browser ({})", {"workstation": HINT}, "Zeek software.log"),
    "is_router": Rule(
        "its hardware address stands for {} addresses", {"network_device": 2 * SURELY}, "RFC 1812: routers forward"
    ),
    "serves_routing": Rule("speaks routing protocols with {}", {"network_device": 2 * SURELY}, "RFC 4271, RFC 2453"),
    "device_controller": Rule("calls itself {}", {"plc": SURELY}, "CIP identity object, S7 SZL 0x001C, BACnet I-Am"),
    "made_for_plants": Rule("made by {}, who makes automation", {"plc": HINT, "hmi": HINT}, "IEEE OUI list"),
    "made_for_printing": Rule("made by {}, who makes printers", {"printer": LIKELY}, "IEEE OUI list"),
    "made_for_watching": Rule("made by {}, who makes cameras", {"iot": SURELY}, "IEEE OUI list"),
    "made_for_networks": Rule("made by {}, who makes network equipment", {"network_device": RATHER}, "IEEE OUI list"),
    **{
        f"named_{role}": Rule("its name {} sounds like one", {role: HINT}, "names that administrators give")
        for role in ROLES
    },
}
"""Fact -> what it says."""

NAME_PARTS: Final[dict[str, tuple[str, ...]]] = {
    "domain_controller": ("dc", "pdc", "addc"),
    "dns_server": ("dns", "ns"),
    "dhcp_server": ("dhcp",),
    "ntp_server": ("ntp",),
    "file_server": ("fs", "file", "files", "nas", "filer"),
    "database": ("db", "sql", "ora", "oracle", "mysql", "pg"),
    "web_server": ("web", "www", "intranet", "app"),
    "mail_server": ("mail", "mx", "exch", "exchange", "smtp"),
    "proxy": ("proxy", "squid"),
    "management_server": ("sccm", "wsus", "mon", "zabbix", "nagios", "ansible"),
    "backup_server": ("backup", "bkp", "veeam"),
    "scanner": ("nessus", "openvas", "qualys", "scan", "scanner"),
    "jump_host": ("jump", "jmp", "bastion"),
    "vendor_gateway": ("vpn", "vendor", "supplier"),
    "workstation": ("ws", "pc", "desktop", "laptop", "client"),
    "printer": ("prn", "printer", "npi", "print"),
    "iot": ("cam", "camera", "nvr"),
    "network_device": ("rtr", "router", "sw", "switch", "fw", "firewall", "gw"),
    "historian": ("hist", "historian", "pi"),
    "scada_server": ("scada", "mes", "wincc"),
    "engineering_workstation": ("ews", "eng", "es"),
    "hmi": ("hmi", "panel", "op"),
    "plc": ("plc", "rtu", "ied", "cpu"),
}
"""Role -> how names of such hosts begin, before digits, dashes and dots."""


def weigh(facts: Collection[str]) -> dict[str, float]:
    """Confidence of each role that has a say, `UNKNOWN` among them; they add up to 1.

    >>> weigh([])
    {'unknown': 1.0}
    """
    scores = dict.fromkeys((*ROLES, UNKNOWN), 0.0) | {UNKNOWN: UNKNOWN_SCORE}
    for fact in sorted(facts):
        for role, weight in RULES[fact].weights.items():
            scores[role] += weight
    spoken_for = {role for fact in facts for role in RULES[fact].weights} | {UNKNOWN}
    odds = {role: exp(score) for role, score in scores.items() if role in spoken_for}
    total = sum(odds.values())
    return {role: odd / total for role, odd in odds.items()}


_SPELLINGS: Final = {
    spelling: role
    for role, spellings in {
        "domain_controller": "dc domain_controllers",
        "file_server": "fileserver nas",
        "database": "database_server db",
        "web_server": "webserver application_server",
        "mail_server": "mailserver",
        "proxy": "web_proxy",
        "management_server": "monitoring deployment orchestration directory_sync",
        "backup_server": "backup",
        "scanner": "vulnerability_scanner vulnerability_scanners",
        "jump_host": "jump_server jump_hosts bastion",
        "vendor_gateway": "supplier vendor",
        "workstation": "desktop laptop client",
        "iot": "camera",
        "network_device": "router switch firewall",
        "historian": "historians",
        "scada_server": "scada mes",
        "engineering_workstation": "ews",
        "hmi": "panel operator_panel",
        "plc": "rtu controller ied",
    }.items()
    for spelling in spellings.split()
}
"""Other words for our roles, those of the plant file's ``known_servers`` among them."""


def role_of(text: str) -> str:
    """Our name of a declared role where we have one, else the text.

    >>> role_of("Jump server"), role_of("Paint robot")
    ('jump_host', 'Paint robot')
    """
    name = text.strip().lower().replace(" ", "_").replace("-", "_")
    name = _SPELLINGS.get(name, name)
    return name if name in ROLES else text.strip()

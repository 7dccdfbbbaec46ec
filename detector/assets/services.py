"""Service tokens: one name for a protocol and port, whatever sensor saw it.

The token comes from the port alone, not from payload inspection, so that NetFlow and Zeek name the same edge the same
way. Ports are IANA's (service-name-transport-protocol-port-numbers) plus the usual OT ones.
"""

from typing import Final

_TCP: Final = {
    20: "ftp-data", 21: "ftp", 22: "ssh", 23: "telnet", 25: "smtp", 53: "dns", 80: "http", 88: "kerberos",
    102: "s7comm", 110: "pop3", 111: "sunrpc", 135: "epmap", 139: "netbios-ssn", 143: "imap", 179: "bgp", 389: "ldap",
    443: "https", 445: "smb", 464: "kpasswd", 465: "smtps", 502: "modbus", 515: "printer", 548: "afp", 554: "rtsp",
    587: "submission", 593: "rpc-http", 623: "ipmi", 631: "ipp", 636: "ldaps", 789: "red-lion", 853: "dns-tls",
    873: "rsync", 902: "vmware-auth", 993: "imaps", 995: "pop3s", 1080: "socks", 1089: "ff-annunc", 1433: "mssql",
    1521: "oracle", 1723: "pptp", 1883: "mqtt", 1911: "niagara-fox", 1962: "pcworx", 2049: "nfs", 2222: "enip-io",
    2375: "docker", 2376: "docker-tls", 2404: "iec104", 2455: "codesys-2", 3128: "proxy", 3260: "iscsi",
    3268: "global-catalog", 3269: "global-catalog-tls", 3306: "mysql", 3389: "rdp", 4840: "opcua", 4911: "niagara-tls",
    5006: "melsec", 5007: "melsec", 5040: "cdpsvc", 5060: "sip", 5061: "sips", 5093: "sentinel-lm", 5222: "xmpp",
    5432: "postgresql", 5450: "pi-server", 5800: "vnc-http", 5900: "vnc", 5901: "vnc", 5985: "winrm", 5986: "winrm-tls",
    6379: "redis", 6443: "kubernetes", 7000: "cassandra", 7680: "delivery-optimization", 8000: "http-alt",
    8005: "tomcat", 8008: "http-alt", 8080: "http-alt", 8081: "http-alt", 8443: "https-alt", 8530: "wsus",
    8531: "wsus-tls", 8883: "mqtt-tls", 8888: "http-alt", 9000: "http-alt", 9090: "http-alt", 9092: "kafka",
    9100: "jetdirect", 9200: "elasticsearch", 9300: "elasticsearch-transport", 9443: "https-alt", 9600: "fins",
    10000: "webmin", 10050: "zabbix-agent", 10051: "zabbix", 10250: "kubelet", 11211: "memcached", 11740: "codesys-3",
    17185: "vxworks-debug", 18245: "ge-srtp", 20000: "dnp3", 20547: "proconos", 27017: "mongodb", 34962: "profinet",
    34963: "profinet", 34964: "profinet-cm", 41100: "sicam", 44818: "enip", 48898: "beckhoff-ads", 50000: "db2",
}  # fmt: skip
_UDP: Final = {
    53: "dns", 67: "dhcp", 68: "dhcp", 69: "tftp", 88: "kerberos", 111: "sunrpc", 123: "ntp", 137: "netbios-ns",
    138: "netbios-dgm", 161: "snmp", 162: "snmp-trap", 389: "cldap", 443: "quic", 464: "kpasswd", 500: "isakmp",
    514: "syslog", 520: "rip", 546: "dhcpv6", 547: "dhcpv6", 623: "ipmi", 1434: "mssql-browser", 1812: "radius",
    1813: "radius-acct", 1900: "ssdp", 2222: "enip-io", 3389: "rdp", 3702: "ws-discovery", 4500: "ipsec-nat-t",
    5060: "sip", 5353: "mdns", 5355: "llmnr", 6343: "sflow", 2055: "netflow", 4739: "ipfix", 9600: "fins",
    20000: "dnp3", 34964: "profinet-cm", 44818: "enip", 47808: "bacnet", 48899: "beckhoff-ads", 51820: "wireguard",
}  # fmt: skip
OT_SERVICES: Final = frozenset(
    [
        "s7comm",
        "modbus",
        "iec104",
        "dnp3",
        "enip",
        "enip-io",
        "opcua",
        "bacnet",
        "profinet",
        "profinet-cm",
        "fins",
        "melsec",
        "codesys-2",
        "codesys-3",
        "ge-srtp",
        "niagara-fox",
        "niagara-tls",
        "pcworx",
        "red-lion",
        "beckhoff-ads",
        "ff-annunc",
        "proconos",
        "sicam",
        "vxworks-debug",
    ]
)
"""Services that only controllers and what talks to them use."""

INTERACTIVE_SERVICES: Final = {
    "ssh": "T1021.004", "rdp": "T1021.001", "smb": "T1021.002", "netbios-ssn": "T1021.002", "winrm": "T1021.006",
    "winrm-tls": "T1021.006", "vnc": "T1021.005", "epmap": "T1021.003", "telnet": "T1021",
}  # fmt: skip
"""Services that give a foothold on arrival, with the ATT&CK technique of a move over them."""

SESSION_SERVICES: Final = frozenset(["rdp", "ssh", "vnc", "vnc-http", "rfb", "telnet", "winrm", "winrm-tls"])
"""Services, and protocols of operations, by which somebody works on another host."""

RESERVED_PORTS: Final = 1024  # ports below are assigned by IANA and served, not used, by ordinary hosts (RFC 6335)


def is_service_port(proto: str, port: int) -> bool:
    """Whether the port alone says 'server side'."""
    return 0 < port < RESERVED_PORTS or port in _TABLES.get(proto, {})


def token(proto: str, port: int | None) -> str:
    """The service token of a responder port.

    >>> token("tcp", 445), token("udp", 7), token("tcp", 49321), token("ipv6-icmp", 0)
    ('smb', 'udp/7', 'tcp/high', 'icmp')
    """
    table = _TABLES.get(proto)
    if table is None or port is None:
        return _PROTOCOLS.get(proto, proto)
    name = table.get(port)
    if name is not None:
        return name
    return f"{proto}/{port}" if 0 < port < RESERVED_PORTS else f"{proto}/high"


def transport(protocol: str) -> str | None:
    """What a protocol of operations runs over, where the logs we read have it over nothing else."""
    return _TRANSPORTS.get(protocol)


def runs_over(service: str, proto: str) -> bool:
    """Whether a service token is one of a transport's ports (tcp or udp).

    >>> runs_over("smb", "tcp"), runs_over("tcp/high", "udp"), runs_over("dns", "udp")
    (True, False, True)
    """
    return service.startswith(f"{proto}/") or service in _TABLES[proto].values()


def carrier(port: int | None) -> str:
    """The service an operation on this port came over; operations do not say which transport they used."""
    return token("udp" if port in _UDP and port not in _TCP else "tcp", port)


_TABLES: Final = {"tcp": _TCP, "udp": _UDP}
_PROTOCOLS: Final = {
    "ipv6-icmp": "icmp",  # Zeek calls both so
    "rdp": "ip/27",  # the Reliable Data Protocol of 1984 (RFC 908) is not remote desktop
}
SERVICE_PORTS: Final = {proto: frozenset(table) for proto, table in _TABLES.items()}
_TRANSPORTS: Final = dict.fromkeys(
    ("dce_rpc", "ftp", "http", "modbus", "mqtt", "mysql", "ntlm", "opcua", "rdp", "rfb", "s7comm", "smb", "ssh"), "tcp"
) | dict.fromkeys(("bacnet", "radius", "snmp"), "udp")
"""Zeek's analyzers of these are bound to one transport, as are those of ICSNPP."""

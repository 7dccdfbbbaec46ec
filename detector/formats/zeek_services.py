"""Services of any network as Zeek sees them: remote desktops, shells, web, names, directories, transfers."""

from functools import lru_cache
from typing import Final

from detector.formats.batch import Row
from detector.formats.fields import TEXT_LIMIT
from detector.formats.zeek_acts import (
    UNKNOWN,
    Act,
    below,
    flag,
    joined,
    log_type,
    one_of,
    success,
    text,
    user,
    word,
    words,
)

# --- rdp.log, ssh.log, rfb.log ---

_SECURITY: Final = frozenset({"RDP", "SSL", "TLS", "HYBRID", "HYBRID_EX", "RDSTLS", "RDSAAD"})


@lru_cache(maxsize=1024)
def _rdp_result(result: str) -> str:
    lowered = result.lower()
    if lowered in {"success", "encrypted"}:
        return lowered
    return "failed" if result else UNKNOWN


def _rdp(row: Row) -> str:
    """``connect:<result>:<security>``; ``encrypted`` means that the log-on happened out of Zeek's sight."""
    result = _rdp_result(word(row, "result"))
    return f"connect:{result}:{one_of(word(row, 'security_protocol').upper(), _SECURITY)}"


def _rdp_outcome(row: Row) -> str | None:
    return {"success": "ok", "failed": "failed"}.get(_rdp_result(word(row, "result")))


def _auth(row: Row) -> str:
    return "auth"


_RFB_METHODS: Final = {"None": "none", "VNC": "vnc", "Apple Remote Desktop": "ard", "Invalid": "invalid"}


def _rfb(row: Row) -> str:
    return f"auth:{_RFB_METHODS.get(word(row, 'authentication_method'), 'other')}"


# --- http.log ---

_METHODS: Final = words("GET HEAD POST PUT DELETE OPTIONS CONNECT TRACE PATCH")
_WEBDAV: Final = words("PROPFIND PROPPATCH MKCOL COPY MOVE LOCK UNLOCK SEARCH REPORT CHECKOUT")
_WINRM_PORTS: Final = frozenset({5985, 5986})


def _http(row: Row) -> str:
    """The method; ``wsman`` for Windows Remote Management, ``webdav`` for the methods of RFC 4918."""
    method = word(row, "method").upper()
    uri = row.get("uri")
    port = row.get("id.resp_p", row.get("id_resp_p"))
    if type(uri) is str and uri.lower().startswith("/wsman"):
        return "wsman"
    if method == "POST" and type(port) is int and port in _WINRM_PORTS:
        return "wsman"
    return "webdav" if method in _WEBDAV else one_of(method, _METHODS)


def _url(row: Row) -> str | None:
    """Host and path; the target of CONNECT, and of a request to a proxy, holds the host already."""
    host, uri = _host(row), _uri(row)
    if uri is None or host is None or uri.startswith(host) or "://" in uri[:_SCHEME]:
        return uri or host
    return (host + uri)[:TEXT_LIMIT]


_SCHEME: Final = 8
_host: Final = text("host")
_uri: Final = text("uri")

# --- dns.log ---

_QTYPES: Final = words(
    "A AAAA ANY AXFR CAA CNAME DNSKEY DS HINFO HTTPS IXFR MX NAPTR NS NSEC NSEC3 NULL OPT PTR RRSIG SOA",
    "SRV SVCB TKEY TLSA TSIG TXT WKS NB NBSTAT NIMLOC",
)
_QTYPE_ALIASES: Final = {"*": "ANY", "NBSTAT": "NBSTAT", "<NETBIOS>": "NB"}


def _dns(row: Row) -> str:
    name = word(row, "qtype_name").upper()
    return f"query:{one_of(_QTYPE_ALIASES.get(name, name), _QTYPES, 'other')}" if name else "query:unknown"


def _dns_outcome(row: Row) -> str | None:
    code = word(row, "rcode_name")
    if not code:
        return None
    return "ok" if code == "NOERROR" else "failed"


# --- ldap.log, ldap_search.log ---

_LDAP: Final = {
    "bind simple": "bind:simple",
    "bind SASL": "bind:sasl",
    "bind": "bind:other",
    "sicily_negotiate": "bind:sicily",
    "sicily_response": "bind:sicily",
    "sicily_discovery": "bind:sicily",
}
_LDAP_WORDS: Final = words("unbind add delete modify modifydn compare abandon extended search")
_SCOPES: Final = frozenset({"base", "single", "tree", "one"})


def _ldap(row: Row) -> str:
    opcode = word(row, "opcode")
    return _LDAP.get(opcode) or one_of(opcode.lower(), _LDAP_WORDS)


def _ldap_outcome(row: Row) -> str | None:
    result = word(row, "result")
    if not result or result.endswith("in progress"):
        return None
    return "ok" if result == "success" else "failed"


def _ldap_search(row: Row) -> str:
    return f"search:{one_of(word(row, 'scope'), _SCOPES)}"


# --- ftp.log, snmp.log, radius.log, mysql.log, socks.log, mqtt_*.log ---

_FTP: Final = words(
    "USER PASS ACCT CWD CDUP QUIT PORT PASV EPRT EPSV TYPE RETR STOR STOU APPE RNFR RNTO DELE RMD MKD PWD",
    "LIST NLST MLSD MLST SITE SYST STAT SIZE MDTM FEAT OPTS AUTH PBSZ PROT REST ABOR HELP NOOP",
)
_MYSQL: Final = words(
    "login query field_list quit init_db create_db drop_db refresh shutdown statistics process_info",
    "process_kill ping change_user binlog_dump table_dump register_slave stmt_prepare stmt_execute",
    "unknown",
)


def _ftp(row: Row) -> str:
    return one_of(word(row, "command").upper(), _FTP)


def _snmp(row: Row) -> str:
    """The strongest kind of request in the session: ``set`` over ``bulk`` over ``get``."""
    for name, token in (("set_requests", "set"), ("get_bulk_requests", "bulk"), ("get_requests", "get")):
        count = row.get(name)
        if type(count) is int and count > 0:
            return token
    return "other"


def _mysql(row: Row) -> str:
    return one_of(word(row, "cmd"), _MYSQL)


def _radius_outcome(row: Row) -> str | None:
    return {"success": "ok", "failed": "failed"}.get(word(row, "result"))


def _socks_outcome(row: Row) -> str | None:
    status = word(row, "status")
    return ("ok" if status == "succeeded" else "failed") if status else None


def _connect(row: Row) -> str:
    return "connect"


def _mqtt_outcome(row: Row) -> str | None:
    status = word(row, "connect_status")
    return ("ok" if status == "Connection Accepted" else "failed") if status else None


def _mqtt_publish(row: Row) -> str:
    return "publish" if flag(row, "from_client") is not False else "deliver"


_MQTT_ACTIONS: Final = {"MQTT::SUBSCRIBE": "subscribe", "MQTT::UNSUBSCRIBE": "unsubscribe"}


def _mqtt_subscribe(row: Row) -> str:
    return _MQTT_ACTIONS.get(word(row, "action"), UNKNOWN)


def _topics(row: Row) -> str | None:
    topics = row.get("topics")
    if type(topics) is not list:
        return None
    return ",".join(topic for topic in topics if type(topic) is str)[:TEXT_LIMIT] or None


LOG_TYPES: Final = (
    log_type(
        "rdp",
        Act(
            protocol="rdp",
            operation=_rdp,
            object=text("client_name"),
            outcome=_rdp_outcome,
            user=user("cookie"),
        ),
    ),
    log_type(
        "ssh",
        Act(
            protocol="ssh",
            operation=_auth,
            object=joined(" to ", "client", "server"),
            outcome=success("auth_success"),
        ),
    ),
    log_type(
        "rfb",
        Act(protocol="rfb", operation=_rfb, object=text("desktop_name"), outcome=success("auth")),
    ),
    log_type(
        "http",
        Act(
            protocol="http",
            operation=_http,
            object=_url,
            outcome=below("status_code", 400),
            user=user("username"),
        ),
    ),
    log_type("dns", Act(protocol="dns", operation=_dns, object=text("query"), outcome=_dns_outcome)),
    log_type(
        "ldap",
        Act(protocol="ldap", operation=_ldap, object=text("object", "argument"), outcome=_ldap_outcome),
    ),
    log_type(
        "ldap_search",
        Act(
            protocol="ldap",
            operation=_ldap_search,
            object=joined(" ", "base_object", "filter"),
            outcome=_ldap_outcome,
        ),
    ),
    log_type(
        "ftp",
        Act(
            protocol="ftp",
            operation=_ftp,
            object=text("arg"),
            outcome=below("reply_code", 400),
            user=user("user"),
        ),
    ),
    log_type("snmp", Act(protocol="snmp", operation=_snmp, object=text("display_string"))),
    log_type(
        "radius",
        Act(
            protocol="radius",
            operation=_auth,
            object=text("mac", "connect_info"),
            outcome=_radius_outcome,
            user=user("username"),
        ),
    ),
    log_type("mysql", Act(protocol="mysql", operation=_mysql, outcome=success("success"))),
    log_type(
        "socks",
        Act(
            protocol="socks",
            operation=_connect,
            object=text("request.name", "request.host"),
            outcome=_socks_outcome,
            user=user("user"),
        ),
    ),
    log_type(
        "mqtt_connect",
        Act(protocol="mqtt", operation=_connect, object=text("client_id"), outcome=_mqtt_outcome),
    ),
    log_type("mqtt_publish", Act(protocol="mqtt", operation=_mqtt_publish, object=text("topic"))),
    log_type("mqtt_subscribe", Act(protocol="mqtt", operation=_mqtt_subscribe, object=_topics)),
)

"""What Zeek writes about office protocols: DNS, Kerberos, NTLM, SMB, DCE-RPC, RDP, SSH, HTTP.

Field names are those of Zeek 7's JSON logs. ``smb_files`` has opens, writes, renames and deletes: sites that
look for lateral movement extend ``SMB::logged_file_actions`` to writes.
"""

from typing import TYPE_CHECKING, Final

import numpy as np

from .plant import Plant, Role
from .protocol_records import Fields, Logs, Talk, talks
from .rhythm import MINUTE
from .services import MISTYPED, Kind
from .wire import Conns

if TYPE_CHECKING:
    from collections.abc import Callable

_UNPREPARED: Final = 40  # of 100 first requests
_WRONG: Final = 2
_NEVER: Final = 2136422885.0  # 2037-09-13: what Windows clients ask for as ticket end
_SERVICE_CLASS: Final[dict[int, str]] = {
    Kind.RDP: "TERMSRV",
    Kind.WINRM: "HTTP",
    Kind.LDAP: "ldap",
    Kind.MAIL: "HTTP",
    Kind.ERP: "HTTP",
}
_AES: Final = "aes256-cts-hmac-sha1-96"
_WORDS: Final = [
    "audit",
    "body",
    "brake",
    "cable",
    "door",
    "engine",
    "frame",
    "glass",
    "invoice",
    "line",
    "order",
    "paint",
    "press",
    "quality",
    "rota",
    "seat",
    "shift",
    "stock",
]
_OFFICE_EXT: Final = ("xlsx", "docx", "pdf", "pptx", "csv", "txt", "msg", "dwg")
_ADMIN_EXT: Final = ("exe", "msi", "ps1", "dll", "cab", "exe", "bat", "log", "zip")
_SHARES: Final = ("production", "quality", "logistics", "hr", "finance", "engineering", "common")

_LOGON_CALLS: Final = (
    ("netlogon", "NetrLogonGetDomainInfo"),
    ("netlogon", "NetrServerAuthenticate3"),
    ("netlogon", "NetrServerReqChallenge"),
    ("netlogon", "NetrLogonSamLogonEx"),
    ("lsarpc", "LsarOpenPolicy2"),
    ("lsarpc", "LsarLookupNames4"),
    ("lsarpc", "LsarLookupSids3"),
    ("lsarpc", "LsarQueryInformationPolicy"),
    ("samr", "SamrConnect5"),
    ("drsuapi", "DRSBind"),
    ("drsuapi", "DRSCrackNames"),
    ("drsuapi", "DRSUnbind"),
)
ADMIN_CALLS: Final = (
    ("winreg", "OpenLocalMachine"),
    ("winreg", "BaseRegOpenKey"),
    ("winreg", "BaseRegQueryValue"),
    ("srvsvc", "NetrShareEnum"),
    ("srvsvc", "NetrSessionEnum"),
    ("svcctl", "OpenSCManagerW"),
    ("svcctl", "EnumServicesStatusW"),
    ("svcctl", "QueryServiceStatus"),
    ("IWbemServices", "ExecQuery"),
    ("IWbemServices", "ExecMethod"),
    ("ITaskSchedulerService", "SchRpcRetrieveTask"),
    ("ITaskSchedulerService", "SchRpcRegisterTask"),
    ("eventlog", "ElfrReadELW"),
    ("samr", "SamrLookupNamesInDomain"),
)
"""A remote administration session makes some of these in turn, from the one that the act's ``detail`` names on."""

_SERVICE_CALLS: Final = (
    "OpenSCManagerW",
    "CreateServiceW",
    "StartServiceW",
    "QueryServiceStatus",
    "DeleteService",
    "CloseServiceHandle",
)
_RDP_CLIENTS: Final = ("RDP 10.9", "RDP 10.11", "RDP 10.12")
_SSH_CLIENTS: Final = ("SSH-2.0-OpenSSH_9.6", "SSH-2.0-PuTTY_Release_0.81", "SSH-2.0-OpenSSH_for_Windows_9.5")


class ItRecords:
    """Writes the office protocol records of a day's connections into ``logs``."""

    def __init__(self, plant: Plant, addresses: list[str], logs: Logs) -> None:
        self._plant, self._addresses, self._logs = plant, addresses, logs
        self._domain, self._realm = plant.domain, plant.domain.upper()
        self._writers: dict[Kind, Callable[[Talk], None]] = {
            Kind.DNS: self._dns,
            Kind.KRB_AS: self._ticket,
            Kind.KRB_TGS: self._ticket,
            Kind.EPMAP: self._mapper,
            Kind.RPC_LOGON: self._calls,
            Kind.RPC_ADMIN: self._calls,
            Kind.RPC_REPLICA: self._replica,
            Kind.SMB_FILE: self._file_share,
            Kind.SMB_BULK: self._file_share,
            Kind.SMB_POLICY: self._policy,
            Kind.SMB_COPY: self._admin_share,
            Kind.SVC_EXEC: self._service,
            Kind.RDP: self._rdp,
            Kind.SSH: self._ssh,
            Kind.WINRM: self._winrm,
            Kind.PROXY: self._proxy,
            Kind.INTRANET: self._web,
            Kind.MES: self._web,
            Kind.UPDATE: self._web,
        }

    def write(self, conns: Conns, rng: np.random.Generator) -> None:
        """Adds the records of all answered connections, kind by kind."""
        for kind, writer in self._writers.items():
            rows = np.flatnonzero((conns.kind == kind) & conns.answered)
            for talk in talks(conns, rows, self._plant, rng):
                writer(talk)

    def _name(self, host: int) -> str:
        return self._plant.hosts[host].name

    def _add(self, log: str, talk: Talk, ts: int, fields: Fields) -> None:
        self._logs[log].add(talk.row, ts, fields)

    def _dns(self, talk: Talk) -> None:
        target, kind = talk.detail // 64, talk.detail % 64
        host = self._plant.hosts[target]
        outside = host.role is Role.SITE or kind == Kind.WEB
        name = f"www.{host.name.lower()}.example" if outside else f"{host.name.lower()}.{self._domain}"
        answer = (
            f'"rcode":0,"rcode_name":"NOERROR","AA":{"false" if outside else "true"},"TC":false,"RD":true,'
            f'"RA":true,"Z":0,"answers":["{self._addresses[target]}"],"TTLs":[{300 + talk.dice[1] % 3300}.0],'
            f'"rejected":false'
        )
        if talk.dice[0] % 50 == 0:  # an unknown name, as a search list makes them
            name = f"{name}.{self._domain}"
            flags = '"AA":true,"TC":false,"RD":true,"RA":true,"Z":0,"rejected":false'
            answer = f'"rcode":3,"rcode_name":"NXDOMAIN",{flags}'
        seconds, micros = divmod(talk.duration, 1_000_000)
        self._logs["dns"].add_tail(
            talk.row,
            talk.ts,
            f'"proto":"udp","trans_id":{talk.dice[2] % 65536},"rtt":{seconds}.{micros:06d},"query":"{name}",'
            f'"qclass":1,"qclass_name":"C_INTERNET","qtype":1,"qtype_name":"A",{answer}',
        )

    def _ticket(self, talk: Talk) -> None:
        first = talk.kind == Kind.KRB_AS
        target, kind = divmod(talk.detail, 64)
        wanted = f"krbtgt/{self._realm}"
        if not first:
            wanted = f"{_SERVICE_CLASS.get(kind, 'cifs')}/{self._name(target)}.{self._domain}"
        asked: Fields = {
            "request_type": "AS" if first else "TGS",
            "client": f"{talk.user}/{self._realm}",
            "service": wanted,
        }
        flags: Fields = {"forwardable": True, "renewable": True}
        luck = 0 if first and talk.detail == MISTYPED else talk.dice[0] % 100
        # Clients ask without pre-authentication first; a few have the wrong password or an unknown name.
        if luck < (_UNPREPARED if first else 1):
            error = "KDC_ERR_S_PRINCIPAL_UNKNOWN"
            if first:
                error = "KDC_ERR_PREAUTH_FAILED" if luck < _WRONG else "KDC_ERR_PREAUTH_REQUIRED"
            answer: Fields = {"success": False, "error_msg": error, "till": _NEVER}
        else:
            cipher = "rc4-hmac" if not first and talk.dice[1] % 40 == 0 else _AES
            answer = {"success": True, "till": _NEVER, "cipher": cipher}
        self._add("kerberos", talk, talk.moment(0, 1), asked | answer | flags)

    def _rpc(self, talk: Talk, step: int, steps: int, pipe: str, endpoint: str, operation: str) -> None:
        rtt = (150 + talk.dice[step % len(talk.dice)] % 2200) / 1_000_000
        fields: Fields = {"rtt": rtt, "named_pipe": pipe, "endpoint": endpoint, "operation": operation}
        self._add("dce_rpc", talk, talk.moment(step, steps), fields)

    def _mapper(self, talk: Talk) -> None:
        for step in range(1 + talk.dice[0] % 2):
            self._rpc(talk, step, 2, "135", "epmapper", "ept_map")

    def _calls(self, talk: Talk) -> None:
        log_on = talk.kind == Kind.RPC_LOGON
        calls: tuple[tuple[str, str], ...] = _LOGON_CALLS if log_on else ADMIN_CALLS
        port = str(49_664 + talk.resp % 9)
        first = (talk.dice[0] if log_on else talk.detail) % len(calls)
        for step in range(talk.turns):
            self._rpc(talk, step, talk.turns, port, *calls[(first + step) % len(calls)])
        if talk.dice[1] % 20 == 0:
            self._ntlm(talk)

    def _replica(self, talk: Talk) -> None:
        port = str(49_664 + talk.resp % 9)
        calls = ["DRSBind", *["DRSGetNCChanges"] * max(1, talk.turns - 2), "DRSUnbind"]
        for step, call in enumerate(calls):
            self._rpc(talk, step, len(calls), port, "drsuapi", call)

    def _ntlm(self, talk: Talk) -> None:
        fields: Fields = {
            "username": talk.user,
            "hostname": self._name(talk.orig),
            "domainname": self._realm.partition(".")[0],
            "server_nb_computer_name": self._name(talk.resp),
            "server_dns_computer_name": f"{self._name(talk.resp).lower()}.{self._domain}",
            "server_tree_name": self._domain,
            "success": talk.dice[7] % 40 != 0,
        }
        self._add("ntlm", talk, talk.moment(0, 9), fields)

    def _map(self, talk: Talk, share: str, steps: int) -> str:
        path = f"\\\\{self._name(talk.resp)}\\{share}"
        kind = "PIPE" if share == "IPC$" else "DISK"
        self._add("smb_mapping", talk, talk.moment(0, steps), {"path": path, "share_type": kind})
        return path

    def _file(self, talk: Talk, step: int, steps: int, action: str, path: str, name: str) -> None:
        age = talk.dice[step % len(talk.dice)] % (60 * 24 * 60)  # changed some time in the last sixty days
        changed = (talk.ts - age * MINUTE) / 1_000_000
        fields: Fields = {
            "action": f"SMB::FILE_{action}",
            "path": path,
            "name": name,
            "size": talk.dice[(step + 3) % 8] % 4_000_000,
            "times.modified": changed,
            "times.accessed": changed,
            "times.created": changed,
            "times.changed": changed,
        }
        self._add("smb_files", talk, talk.moment(step, steps), fields)

    def _file_share(self, talk: Talk) -> None:
        if talk.dice[0] % 7 == 0:
            self._ntlm(talk)
        role = self._plant.hosts[talk.resp].role
        shares = _SHARES if role is Role.FILES else ("common",)
        path = self._map(talk, shares[talk.detail % len(shares)], talk.turns + 2)
        for step in range(talk.turns):
            a, b, c = talk.dice[(step + 1) % 8], talk.dice[(step + 4) % 8], talk.dice[(step + 6) % 8]
            action = ("OPEN", "OPEN", "OPEN", "OPEN", "WRITE", "WRITE", "RENAME", "DELETE")[a // 97 % 8]
            odd = c % 150 == 0  # programs do lie on shares
            ext = "exe" if odd else _OFFICE_EXT[b % len(_OFFICE_EXT)]
            name = f"{_WORDS[a % len(_WORDS)]}\\{_WORDS[b // 7 % len(_WORDS)]}-{c % 400}.{ext}"
            self._file(talk, step + 1, talk.turns + 2, action, path, name)

    def _policy(self, talk: Talk) -> None:
        path = self._map(talk, "SYSVOL", talk.turns + 2)
        for step in range(talk.turns):
            name = f"{self._domain}\\Policies\\{{{talk.dice[step % 8] % 12:08X}-0000-4000-8000-00C04FB984F9}}\\gpt.ini"
            self._file(talk, step + 1, talk.turns + 2, "OPEN", path, name)

    def _admin_share(self, talk: Talk) -> None:
        if talk.dice[0] % 4 == 0:
            self._ntlm(talk)
        self._drop(talk, ("C$", "C$", "C$", "ADMIN$")[talk.detail % 4], talk.turns)

    def _drop(self, talk: Talk, share: str, files: int) -> None:
        """Opens and writes files below an administrative share."""
        path = self._map(talk, share, 2 * files + 4)
        folder = ("Temp", "ProgramData", "Windows\\Temp", "Tools")[talk.dice[1] % 4]
        for i in range(files):
            word, ext = (
                _WORDS[talk.dice[(i + 2) % 8] % len(_WORDS)],
                _ADMIN_EXT[talk.dice[(i + 4) % 8] % len(_ADMIN_EXT)],
            )
            for half, action in enumerate(("OPEN", "WRITE")):
                self._file(
                    talk,
                    2 * i + half + 1,
                    2 * files + 9,
                    action,
                    path,
                    f"{folder}\\{word}{talk.dice[i % 8] % 90}.{ext}",
                )

    def _service(self, talk: Talk) -> None:
        if talk.dice[0] % 4 == 0:
            self._ntlm(talk)
        self._map(talk, "IPC$", 20)
        self._drop(talk, "ADMIN$", talk.turns)
        for step, call in enumerate(_SERVICE_CALLS):
            if call != "DeleteService" or talk.dice[2] % 3 == 0:
                self._rpc(talk, 2 * talk.turns + 3 + step, 2 * talk.turns + 9, "\\pipe\\ntsvcs", "svcctl", call)

    def _rdp(self, talk: Talk) -> None:
        fields: Fields = {"cookie": talk.user, "result": "encrypted", "security_protocol": "HYBRID"}
        if talk.dice[0] % 6 == 0:  # without network level authentication Zeek sees the client's greeting
            fields |= {
                "result": "Success",
                "security_protocol": "RDP",
                "client_channels": ["rdpdr", "rdpsnd", "cliprdr"],
                "keyboard_layout": "English - United Kingdom",
                "client_build": _RDP_CLIENTS[talk.dice[1] % 3],
                "client_name": self._name(talk.orig),
            }
        self._add("rdp", talk, talk.moment(0, 60), fields | {"cert_count": 0})

    def _ssh(self, talk: Talk) -> None:
        failed = talk.dice[0] % 25 == 0
        fields: Fields = {
            "version": 2,
            "auth_success": not failed,
            "auth_attempts": 3 if failed else 1 + talk.dice[1] % 2,
            "client": _SSH_CLIENTS[talk.orig % 3],
            "server": "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3",
            "cipher_alg": "aes256-gcm@openssh.com",
            "mac_alg": "hmac-sha2-256-etm@openssh.com",
            "compression_alg": "none",
            "kex_alg": "curve25519-sha256",
            "host_key_alg": "ssh-ed25519",
        }
        self._add("ssh", talk, talk.moment(0, 60), fields)

    def _http(self, talk: Talk, step: int, steps: int, fields: Fields) -> None:
        sizes: Fields = {
            "request_body_len": talk.orig_bytes // steps // 2,
            "response_body_len": talk.resp_bytes // steps // 2,
            "status_code": 200,
            "status_msg": "OK",
            "tags": [],
        }
        self._add("http", talk, talk.moment(step, steps), {"trans_depth": step + 1} | fields | sizes)

    def _winrm(self, talk: Talk) -> None:
        request: Fields = {
            "method": "POST",
            "host": f"{self._name(talk.resp).lower()}:5985",
            "uri": "/wsman?PSVersion=5.1.20348.2849",
            "version": "1.1",
            "user_agent": "Microsoft WinRM Client",
        }
        for step in range(talk.turns):
            self._http(talk, step, talk.turns, request)
        if talk.dice[0] % 5 == 0:
            self._ntlm(talk)

    def _proxy(self, talk: Talk) -> None:
        site = f"www.{self._name(talk.detail).lower()}.example"
        if talk.dice[0] % 5:
            self._http(talk, 0, 1, {"method": "CONNECT", "host": site, "uri": f"{site}:443", "version": "1.1"})
        else:
            uri = f"http://{site}/{_WORDS[talk.dice[1] % len(_WORDS)]}"
            self._http(talk, 0, 1, {"method": "GET", "host": site, "uri": uri, "version": "1.1"})

    def _web(self, talk: Talk) -> None:
        host = f"{self._name(talk.resp).lower()}.{self._domain}"
        for step in range(talk.turns):
            number = talk.dice[step % 8]
            method = "POST" if number % 5 == 0 else "GET"
            uri = f"/{_WORDS[number // 5 % len(_WORDS)]}/{number % 300}"
            self._http(talk, step, talk.turns, {"method": method, "host": host, "uri": uri, "version": "1.1"})

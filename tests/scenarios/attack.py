"""Attacks by hand: the lines Zeek would write of them, to be laid over quiet history."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

SMB, RPC, RDP, WINRM, MODBUS, S7 = 445, 49_664, 3389, 5985, 502, 102


@dataclass
class Attack:
    """Collects lines by log; each method is one connection with its protocol records."""

    lines: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _count: int = 0

    def write(self, folder: Path) -> Path:
        """The logs as Zeek JSON."""
        folder.mkdir(parents=True)
        for log, rows in self.lines.items():
            (folder / f"{log}.log").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
        return folder

    def connection(self, at: float, src: str, dst: str, port: int, **more: Any) -> dict[str, Any]:
        """A conn line; returns what its protocol records begin with."""
        self._count += 1
        head = {
            "uid": f"CAttack{self._count:010d}", "id.orig_h": src, "id.orig_p": 50_000 + self._count, "id.resp_h": dst,
            "id.resp_p": port,
        }  # fmt: skip
        row = {
            "ts": at, **head, "proto": "tcp", "duration": 8.0, "orig_bytes": 4000, "resp_bytes": 9000,
            "conn_state": "SF", "history": "ShADadFf", "orig_pkts": 30, "resp_pkts": 40,
        }  # fmt: skip
        self.lines["conn"].append(row | more)
        return head

    def attempt(self, at: float, src: str, dst: str, port: int) -> None:
        """A connection that nobody answers."""
        nothing = {"conn_state": "S0", "history": "S", "orig_bytes": 0, "resp_bytes": 0, "orig_pkts": 1, "resp_pkts": 0}
        self.connection(at, src, dst, port, duration=0.0, **nothing)

    def service_over_admin_share(self, at: float, src: str, dst: str) -> None:
        """PsExec's way: a program onto ADMIN$, a service that runs it."""
        head = self.connection(at, src, dst, SMB, service="smb,dce_rpc")
        share = f"\\\\{dst}\\ADMIN$"
        self.lines["smb_mapping"].append({"ts": at + 0.5, **head, "path": share, "share_type": "DISK"})
        for delay, action in ((1.0, "SMB::FILE_OPEN"), (1.2, "SMB::FILE_WRITE")):
            self.lines["smb_files"].append(
                {"ts": at + delay, **head, "action": action, "path": share, "name": "Temp\\updater.exe", "size": 90_000}
            )
        self._calls(head, at + 3, "svcctl", "OpenSCManagerW", "CreateServiceW", "StartServiceW")

    def dcsync(self, at: float, src: str, dst: str) -> None:
        """Account secrets, asked for as one domain controller asks another."""
        head = self.connection(at, src, dst, RPC, service="dce_rpc")
        self._calls(head, at + 1, "drsuapi", "DRSBind", "DRSCrackNames", "DRSGetNCChanges")

    def remote_desktop(self, at: float, src: str, dst: str, user: str = "b.hill") -> None:
        head = self.connection(at, src, dst, RDP, service="rdp")
        self.lines["rdp"].append({"ts": at + 1, **head, "cookie": user, "result": "encrypted", "cert_count": 0})

    def remote_shell(self, at: float, src: str, dst: str) -> None:
        """PowerShell remoting."""
        head = self.connection(at, src, dst, WINRM, service="http")
        for depth in (1, 2):
            self.lines["http"].append(
                {
                    "ts": at + depth, **head, "trans_depth": depth, "method": "POST", "host": f"{dst}:5985",
                    "uri": "/wsman?PSVersion=5.1.20348.2849", "user_agent": "Microsoft WinRM Client",
                    "status_code": 200,
                }
            )  # fmt: skip

    def program_download(self, at: float, src: str, dst: str) -> None:
        """A program into an S7 controller."""
        head = self.connection(at, src, dst, S7)
        functions = (
            ("0xf0", "Setup Communication"), ("0x1a", "Request Download"), ("0x1b", "Download Block"),
            ("0x1c", "Download Ended"),
        )  # fmt: skip
        for number, (code, name) in enumerate(functions):
            self.lines["s7comm"].append(
                {
                    "ts": at + 1 + number, **head, "is_orig": True, "rosctr_code": 1, "rosctr_name": "Job-Request",
                    "pdu_reference": number, "function_code": code, "function_name": name,
                }
            )  # fmt: skip

    def modbus(self, at: float, src: str, dst: str, *functions: str) -> None:
        head = self.connection(at, src, dst, MODBUS, service="modbus")
        for number, function in enumerate(functions):
            self.lines["modbus"].append(
                {"ts": at + 1 + number, **head, "tid": number, "unit": 1, "func": function, "pdu_type": "REQ"}
            )

    def _calls(self, head: dict[str, Any], at: float, endpoint: str, *operations: str) -> None:
        for number, operation in enumerate(operations):
            self.lines["dce_rpc"].append(
                {"ts": at + number, **head, "rtt": 0.001, "endpoint": endpoint, "operation": operation}
            )

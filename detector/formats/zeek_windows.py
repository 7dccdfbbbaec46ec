"""Windows administration as Zeek sees it: DCE-RPC calls, SMB shares and files, NTLM and Kerberos log-ons."""

import re
from functools import lru_cache
from typing import Final

from detector.formats.batch import Row
from detector.formats.zeek_acts import (
    UNKNOWN,
    Act,
    flag,
    identifier,
    joined,
    log_type,
    realmless,
    success,
    text,
    user,
    word,
    words,
)

# --- dce_rpc.log ---


def _call(row: Row) -> str:
    """``endpoint::operation`` in Zeek's names, e.g. ``svcctl::CreateServiceW``."""
    return f"{identifier(word(row, 'endpoint'))}::{identifier(word(row, 'operation'))}"


# --- smb_files.log, smb_mapping.log ---

_ACTIONS: Final = {"OPEN": "open", "CLOSE": "other", "READ": "read", "WRITE": "write"} | {
    "DELETE": "delete",
    "RENAME": "rename",
}
_SHARES: Final = frozenset({"ADMIN$", "IPC$", "SYSVOL", "NETLOGON", "PRINT$"})
_DRIVE: Final = re.compile(r"[A-Z]\$")
_KINDS: Final = {
    **dict.fromkeys(words("exe dll sys scr com cpl ocx msi msp drv pif"), "exe"),
    **dict.fromkeys(words("bat cmd ps1 psm1 psd1 vbs vbe js jse wsf wsh hta py pl sh reg inf lnk"), "script"),
    **dict.fromkeys(words("doc docx docm xls xlsx xlsm ppt pptx pdf rtf txt csv"), "doc"),
}
PIPES: Final = words(
    "atsvc browser drsuapi epmapper eventlog initshutdown lsarpc lsass netdfs netlogon ntsvcs",
    "protected_storage psexesvc samr spoolss srvsvc svcctl trkwks w32time winreg winspipe wkssvc",
)
"""Named pipes with a token of their own; a file opened on IPC$ is a pipe."""


@lru_cache(maxsize=8192)
def share(path: str) -> str:
    """The class of a share path: ADMIN$, C$ (any drive), IPC$, SYSVOL, NETLOGON, PRINT$ or ``other``."""
    name = path.rstrip("\\").rpartition("\\")[2].upper()
    if _DRIVE.fullmatch(name):
        return "C$"
    return name if name in _SHARES else "other"


@lru_cache(maxsize=8192)
def _kind(name: str) -> str:
    _, dot, ending = name.rpartition("\\")[2].rpartition(".")
    return _KINDS.get(ending.lower(), "other") if dot else "other"


def _file_act(row: Row) -> str:
    """``<action>:<share class>:<kind of file, or name of the pipe>``, e.g. ``write:ADMIN$:exe``."""
    action = word(row, "action").rpartition("::")[2]
    verb = _ACTIONS.get(action.rpartition("_")[2], "other")
    path, name = _long(row, "path"), _long(row, "name")
    pipe = name.strip("\\").lower()
    # Without a tree connect in sight Zeek has no path; the well-known pipe names live on IPC$ only.
    where = "IPC$" if action.startswith("PIPE") or (not path and pipe in PIPES) else share(path)
    if where == "IPC$":
        return f"{verb}:IPC$:{pipe if pipe in PIPES else 'other'}"
    return f"{verb}:{where}:{_kind(name)}"


def _long(row: Row, name: str) -> str:
    value = row.get(name)
    return value if type(value) is str and value != "-" else ""


def _mapping(row: Row) -> str:
    return f"map:{share(_long(row, 'path'))}"


# --- kerberos.log ---

_REQUESTS: Final = frozenset({"AS", "TGS"})
_ERRORS: Final = {
    "PREAUTH_REQUIRED": "preauth_required",  # the normal first answer, no failure
    "PREAUTH_FAILED": "bad_password",
    "C_PRINCIPAL_UNKNOWN": "unknown_client",
    "CLIENT_NOT_FOUND": "unknown_client",
    "S_PRINCIPAL_UNKNOWN": "unknown_service",
    "SERVER_NOT_FOUND": "unknown_service",
    "CLIENT_REVOKED": "revoked",
    "KEY_EXPIRED": "expired",
    "ETYPE_NOSUPP": "no_cipher",
    "SKEW": "skew",
    "TOO_BIG": "too_big",
}


@lru_cache(maxsize=4096)
def _cipher(name: str) -> str:
    lowered = name.lower()
    return next((kind for kind in ("aes", "rc4", "des", "camellia") if lowered.startswith(kind)), "none")


@lru_cache(maxsize=4096)
def _error(message: str) -> str:
    upper = message.upper()
    return next((kind for mark, kind in _ERRORS.items() if mark in upper), "error")


def _ticket(row: Row) -> str:
    """``<AS|TGS>:<cipher class>:<error class>``, e.g. ``TGS:rc4:ok``."""
    request = word(row, "request_type")
    message = word(row, "error_msg")
    result = _error(message) if message else ("ok" if flag(row, "success") else "none")
    return f"{request if request in _REQUESTS else UNKNOWN}:{_cipher(word(row, 'cipher'))}:{result}"


def _ticket_outcome(row: Row) -> str | None:
    """Being asked for pre-authentication is how every log-on begins, and no failure."""
    if _error(word(row, "error_msg")) == "preauth_required":
        return None
    return _succeeded(row)


_succeeded: Final = success("success")


def _auth(row: Row) -> str:
    return "auth"


LOG_TYPES: Final = (
    log_type("dce_rpc", Act(protocol="dce_rpc", operation=_call, object=text("named_pipe"))),
    log_type("smb_files", Act(protocol="smb", operation=_file_act, object=joined("\\", "path", "name"))),
    log_type("smb_mapping", Act(protocol="smb", operation=_mapping, object=text("path"))),
    log_type(
        "ntlm",
        Act(
            protocol="ntlm",
            operation=_auth,
            object=text("hostname", "server_dns_computer_name", "server_nb_computer_name"),
            outcome=success("success"),
            user=user("username"),
        ),
    ),
    log_type(
        "kerberos",
        Act(
            protocol="kerberos",
            operation=_ticket,
            object=text("service"),
            outcome=_ticket_outcome,
            user=realmless("client"),
        ),
    ),
)

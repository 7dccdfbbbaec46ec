"""What an operation means: how far it reaches into a plant, which technique it may show, in plain words.

Sources: MITRE ATT&CK Enterprise and ICS 18.1 (ids); BZAR's list of DCE-RPC calls (MITRE, BSD-3), facts only;
the function code classes of `assets.industrial`. Weights are start values of P(operation | attack): 1 remote
execution, 0.7 persistence, shutdown and clearing of traces, 0.5 moving tools, 0.1 discovery, which tells only
in a fan-out.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from detector.assets.industrial import FUNCTIONS, READ, WRITE

_CACHE: Final = 65_536


@dataclass(frozen=True, slots=True)
class OperationFacts:
    """What is known of one operation.

    Args:
        consequence: 0 read, 1 write, 2 operate, 3 mode or restart, 4 program; None for IT protocols.
        technique: the ATT&CK technique it may be evidence of, or None.
        weight: start value of P(operation | attack), 0..1; 0 when nothing is known against it.
        reads: what it does, as a verb phrase: "creates a service".
    """

    consequence: int | None
    technique: str | None
    weight: float
    reads: str


MOVE: Final = 0.5
LOGON: Final = 0.2
DISCOVER: Final = 0.1
_OT_WEIGHTS: Final = (0.05, 0.3, 0.5, 0.8, 1.0)  # by consequence class

_DEFAULT_IT: Final = OperationFacts(None, None, 0.0, "uses the service")
_DEFAULT_OT: Final = OperationFacts(WRITE, None, _OT_WEIGHTS[WRITE], "uses a function that is not known to be harmless")
"""An unknown function of a plant protocol may well be a vendor's own write or program function."""

_RPC: Final = """
T1569.002 1.0 creates or starts a service
  svcctl CreateServiceWOW64W CreateServiceWOW64A CreateServiceW CreateServiceA StartServiceW
    StartServiceA
T1543.003 0.7 changes or deletes a service
  svcctl ChangeServiceConfigW ChangeServiceConfigA ChangeServiceConfig2W ChangeServiceConfig2A
    DeleteService ControlService
T1007 0.1 looks at the services
  svcctl OpenSCManagerW OpenSCManagerA OpenSCManager2 OpenServiceW OpenServiceA EnumServicesStatusW
    EnumServicesStatusExW QueryServiceStatus QueryServiceStatusEx QueryServiceConfigW
T1047 1.0 runs a command through WMI
  IWbemServices ExecMethod ExecMethodAsync
T1047 0.1 uses WMI
  IWbemLevel1Login NTLMLogin EstablishPosition
  IWbemServices GetObject ExecQuery
T1021.003 0.5 creates an object through DCOM
  IRemoteSCMActivator RemoteCreateInstance
  ISystemActivator RemoteCreateInstance
  IRemoteActivation RemoteActivation
T1053.002 1.0 schedules a command
  atsvc JobAdd NetrJobAdd
T1053.005 1.0 creates, enables or runs a scheduled task
  ITaskSchedulerService SchRpcRegisterTask SchRpcRun SchRpcEnableTask
T1053.005 0.1 looks at the scheduled tasks
  ITaskSchedulerService SchRpcEnumTasks SchRpcRetrieveTask SchRpcEnumFolders
T1003.006 1.0 copies account secrets as a domain controller would
  drsuapi DRSReplicaSync DRSGetNCChanges
T1003.002 0.7 saves a part of the registry
  winreg BaseRegSaveKey BaseRegSaveKeyEx
T1112 0.5 changes the registry
  winreg BaseRegSetValue BaseRegCreateKey BaseRegDeleteKey BaseRegDeleteValue
T1070.001 0.7 clears an event log
  eventlog ElfrClearELFW ElfrClearELFA
  IEventService EvtRpcClearLog
T1529 0.7 shuts the host down
  winreg BaseInitiateSystemShutdown BaseInitiateSystemShutdownEx
  InitShutdown BaseInitiateShutdown BaseInitiateShutdownEx
  WindowsShutdown WsdrInitiateShutdown
  winstation_rpc RpcWinStationShutdownSystem
  samr SamrShutdownSamServer
T1547.004 0.7 starts a process as another user
  ISecLogon SeclCreateProcessWithLogonW SeclCreateProcessWithLogonExW
T1547.010 0.7 adds a print monitor or processor
  spoolss RpcAddMonitor RpcAddPrintProcessor
  IRemoteWinspool RpcAsyncAddMonitor RpcAsyncAddPrintProcessor
T1136 0.5 creates an account
  samr SamrCreateUserInDomain SamrCreateUser2InDomain
T1098 0.5 changes an account or group
  samr SamrSetInformationUser SamrSetInformationUser2 SamrAddMemberToAlias SamrAddMemberToGroup
    SamrUnicodeChangePasswordUser2
T1016 0.1 asks for network settings
  srvsvc NetrServerTransportEnum
  wkssvc NetrWkstaTransportEnum
T1018 0.1 asks about the host
  srvsvc NetrServerGetInfo NetrServerAliasEnum
  wkssvc NetrWkstaGetInfo
T1033 0.1 asks who the owner is
  lsarpc LsarGetUserName LsarEnumerateTrustedDomainsEx LsarGetSystemAccessAccount
    LsarQueryDomainInformationPolicy LsarQueryInfoTrustedDomain
  samr SamrEnumerateGroupsInDomain SamrEnumerateDomainsInSamServer SamrQueryInformationDomain
    SamrQueryInformationDomain2 SamrQueryInformationGroup
T1049 0.1 lists connections and sessions
  srvsvc NetrConnectionEnum NetrSessionEnum
T1069 0.1 lists groups and rights
  lsarpc LsarEnumerateAccountRights LsarEnumerateAccountsWithUserRight LsarEnumeratePrivileges
    LsarEnumeratePrivilegesAccount LsarLookupPrivilegeValue LsarLookupPrivilegeName
    LsarLookupPrivilegeDisplayName
  samr SamrGetGroupsForUser SamrGetAliasMembership SamrGetMembersInAlias SamrGetMembersInGroup
T1082 0.1 asks about the system
  lsarpc LsarQueryInformationPolicy LsarQueryInformationPolicy2 LsarQueryTrustedDomainInfo
    LsarQueryTrustedDomainInfoByName
  samr SamrGetUserDomainPasswordInformation
T1083 0.1 lists open files
  srvsvc NetrFileEnum
T1087 0.1 lists accounts
  lsarpc LsarEnumerateAccounts LsarLookupNames LsarLookupNames2 LsarLookupNames3 LsarLookupNames4
    LsarLookupSids LsarLookupSids2 LsarLookupSids3
  samr SamrEnumerateAliasesInDomain SamrEnumerateUsersInDomain SamrLookupNamesInDomain
    SamrLookupIdsInDomain SamrLookupDomainInSamServer SamrQueryDisplayInformation
    SamrQueryDisplayInformation2 SamrQueryDisplayInformation3 SamrQueryInformationAlias
    SamrQueryInformationUser SamrQueryInformationUser2
  wkssvc NetrWkstaUserEnum
T1124 0.1 asks for the time
  srvsvc NetrRemoteTOD
T1135 0.1 lists shares
  srvsvc NetrShareEnum NetrShareGetInfo
"""
"""Technique, weight and words; below, indented, interface and operations as Zeek names them."""


def _calls() -> dict[tuple[str, str], OperationFacts]:
    found: dict[tuple[str, str], OperationFacts] = {}
    facts_of, interface = _DEFAULT_IT, ""
    for line in _RPC.strip().splitlines():
        depth = len(line) - len(line.lstrip())
        words = line.split()
        if depth == 0:
            facts_of = OperationFacts(None, words[0], float(words[1]), " ".join(words[2:]))
            continue
        if depth == 2:
            interface = words.pop(0)
        found |= {("dce_rpc", f"{interface}::{operation}"): facts_of for operation in words}
    return found


_FIXED: Final[dict[tuple[str, str], OperationFacts]] = {
    **_calls(),
    ("http", "wsman"): OperationFacts(None, "T1021.006", MOVE, "manages Windows remotely (WinRM)"),
    ("http", "webdav"): OperationFacts(None, "T1570", DISCOVER, "uses a WebDAV share"),
    ("http", "PUT"): OperationFacts(None, "T1570", DISCOVER, "uploads over the web"),
    ("ssh", "auth"): OperationFacts(None, "T1021.004", LOGON, "logs on over SSH"),
    ("ntlm", "auth"): OperationFacts(None, None, 0.0, "logs on with NTLM"),
    ("radius", "auth"): OperationFacts(None, None, 0.0, "logs on to the network"),
    ("socks", "connect"): OperationFacts(None, "T1090", LOGON, "connects through a proxy"),
    ("snmp", "set"): OperationFacts(None, None, LOGON, "changes settings over SNMP"),
    ("ftp", "STOR"): OperationFacts(None, "T1570", LOGON, "uploads a file over FTP"),
    ("ftp", "RETR"): OperationFacts(None, None, 0.0, "downloads a file over FTP"),
    ("dns", "query:AXFR"): OperationFacts(None, "T1018", LOGON, "asks for a whole zone of names"),
    **{
        (protocol, name): OperationFacts(kappa, technique, _OT_WEIGHTS[kappa], reads)
        for protocol, functions in FUNCTIONS.items()
        for _, name, kappa, technique, reads in functions
    },
}


_WHOLE: Final = {
    "rdp": OperationFacts(None, "T1021.001", LOGON, "opens a remote desktop"),
    "rfb": OperationFacts(None, "T1021.005", LOGON, "opens a remote screen (VNC)"),
}
"""Protocols whose every operation means the same."""


@lru_cache(maxsize=_CACHE)
def facts(protocol: str, operation: str) -> OperationFacts:
    """What is known of an operation; for one in no table a cautious default of its protocol."""
    known = _FIXED.get((protocol, operation)) or _WHOLE.get(protocol)
    if known is not None:
        return known
    if protocol == "smb":
        return _smb(operation)
    if protocol == "kerberos":
        return _kerberos(operation)
    return _industrial(protocol, operation) if protocol in FUNCTIONS else _DEFAULT_IT


def is_industrial(protocol: str) -> bool:
    """Whether a protocol acts on plant equipment, so that its operations have consequence classes."""
    return protocol in FUNCTIONS


_ADMIN_SHARES: Final = frozenset({"ADMIN$", "C$"})
_EXECUTION_PIPES: Final = {"svcctl": "T1569.002", "psexesvc": "T1569.002", "atsvc": "T1053.005"}


def _smb(operation: str) -> OperationFacts:
    """``<action>:<share class>:<kind>``; writing a program to a share is how tools move (T1570)."""
    action, _, rest = operation.partition(":")
    share, _, kind = rest.partition(":")
    verb, place = _VERBS.get(action, "uses"), _PLACES.get(share, "a share")
    technique, weight = _smb_technique(action, share, kind)
    if action == "map":
        return OperationFacts(None, technique, weight, f"connects to {place}")
    if share == "IPC$":
        name = f"the control pipe {kind}" if technique else "a pipe"
        return OperationFacts(None, technique, weight, f"{verb} {name}")
    thing = "a program" if kind in _PROGRAMS else "a file"
    return OperationFacts(None, technique, weight, f"{verb} {thing} on {place}")


def _smb_technique(action: str, share: str, kind: str) -> tuple[str | None, float]:
    changes = action in {"write", "delete", "rename"}
    if share == "IPC$":
        technique = _EXECUTION_PIPES.get(kind)
        return technique, MOVE if technique else 0.0
    if action in {"write", "rename"} and kind in _PROGRAMS:
        return "T1570", MOVE if share in _ADMIN_SHARES else LOGON
    if share in _ADMIN_SHARES:
        # Zeek tells of a copy that fits one request by its opening only.
        return "T1021.002", MOVE if changes else LOGON if kind in _PROGRAMS or action == "map" else DISCOVER
    return ("T1080", MOVE) if changes and share in _DOMAIN_SHARES else (None, 0.0)


_PROGRAMS: Final = frozenset({"exe", "script"})
_DOMAIN_SHARES: Final = frozenset({"SYSVOL", "NETLOGON"})
_PLACES: Final = {
    "ADMIN$": "the admin share",
    "C$": "a drive's admin share",
    "SYSVOL": "a share that every member of the domain reads",
    "NETLOGON": "a share that every member of the domain reads",
}
_VERBS: Final = {
    "open": "opens",
    "read": "reads",
    "write": "writes",
    "delete": "deletes",
    "rename": "renames",
}


def _kerberos(operation: str) -> OperationFacts:
    request, _, rest = operation.partition(":")
    cipher, _, error = rest.partition(":")
    if request == "TGS" and cipher in {"rc4", "des"}:
        return OperationFacts(None, "T1558", LOGON, "gets a service ticket with a weak cipher")
    if error in {"bad_password", "unknown_client"}:
        return OperationFacts(None, "T1110", DISCOVER, "fails to log on with Kerberos")
    return OperationFacts(None, None, 0.0, "gets a Kerberos ticket")


def _industrial(protocol: str, operation: str) -> OperationFacts:
    """Tokens that add to a name of the table: ``PLC Control:_INSE``, ``Symbol:Read Tag``."""
    head, _, tail = operation.partition(":")
    for part in (tail, head):
        known = _FIXED.get((protocol, part))
        if known is not None:
            return known
    if operation == "unknown" and protocol in {"enip", "opcua"}:
        return OperationFacts(READ, None, 0.0, "uses a transport function")
    return _DEFAULT_OT

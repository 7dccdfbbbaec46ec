"""Operations are told by table: nothing a log holds may be missing a meaning, or make the tables grow."""

import re

import pytest

from detector.assets.industrial import FUNCTIONS, NAMES
from detector.assets.operations import facts, is_industrial


@pytest.mark.parametrize(
    ("protocol", "operation", "consequence", "technique"),
    [
        ("dce_rpc", "svcctl::CreateServiceW", None, "T1569.002"),
        ("dce_rpc", "drsuapi::DRSGetNCChanges", None, "T1003.006"),
        ("dce_rpc", "ITaskSchedulerService::SchRpcRegisterTask", None, "T1053.005"),
        ("dce_rpc", "samr::SamrCloseHandle", None, None),
        ("smb", "write:ADMIN$:exe", None, "T1570"),
        ("smb", "write:ADMIN$:other", None, "T1021.002"),
        ("smb", "map:C$", None, "T1021.002"),
        ("smb", "map:other", None, None),
        ("smb", "open:IPC$:svcctl", None, "T1569.002"),
        ("smb", "open:IPC$:samr", None, None),
        ("smb", "write:SYSVOL:doc", None, "T1080"),
        ("smb", "read:other:exe", None, None),
        ("http", "wsman", None, "T1021.006"),
        ("http", "GET", None, None),
        ("rdp", "connect:success:RDP", None, "T1021.001"),
        ("rfb", "auth:vnc", None, "T1021.005"),
        ("ssh", "auth", None, "T1021.004"),
        ("ntlm", "auth", None, None),
        ("kerberos", "TGS:rc4:ok", None, "T1558"),
        ("kerberos", "AS:aes:ok", None, None),
        ("modbus", "READ_COILS", 0, None),
        ("modbus", "WRITE_SINGLE_REGISTER", 1, "T0836"),
        ("modbus", "PROGRAM_UNITY", 4, "T0843"),
        ("modbus", "DIAGNOSTICS:listen_only", 3, "T0816"),
        ("modbus", "unknown-100", 1, None),
        ("dnp3", "DIRECT_OPERATE", 2, "T0855"),
        ("dnp3", "COLD_RESTART", 3, "T0816"),
        ("s7comm", "Request Download", 4, "T0843"),
        ("s7comm", "Start Upload", 1, "T0845"),
        ("s7comm", "PLC Stop", 3, "T0881"),
        ("s7comm", "PLC Control:_INSE", 3, "T0858"),
        ("cip", "Reset", 3, "T0816"),
        ("cip", "Symbol:Write Tag", 1, "T0836"),
        ("cip", "other:0x33", 1, None),
        ("bacnet", "reinitialize_device", 3, "T0816"),
        ("opcua", "Write", 1, "T0836"),
    ],
)
def test_what_an_operation_means(protocol, operation, consequence, technique):
    found = facts(protocol, operation)
    assert (found.consequence, found.technique) == (consequence, technique)


def test_an_unknown_protocol_has_a_default():
    assert facts("own", "anything").technique is None
    assert facts("own", "anything").weight == 0
    assert not is_industrial("own")
    assert is_industrial("cip")


@pytest.mark.parametrize("protocol", FUNCTIONS)
def test_the_tables_are_sound(protocol):
    codes = [code for code, *_ in FUNCTIONS[protocol]]
    assert len(set(codes)) == len(codes)
    for _, name, consequence, technique, reads in FUNCTIONS[protocol]:
        assert 0 <= consequence <= 4
        assert technique is None or re.fullmatch(r"T0\d{3}", technique)
        assert reads
        assert facts(protocol, name).consequence == consequence
    assert NAMES[protocol].keys() == set(codes)

"""Function codes of plant protocols: code, name, and what the function can do to the process.

Names are the ones Zeek (Modbus, DNP3) or ICSNPP (S7comm, CIP, ENIP) print, so that a token reads like the
log. Codes and names: Modbus Application Protocol 1.1b3, IEEE 1815-2012 table 4-1 (DNP3), the S7comm
dissectors' common names, ODVA CIP Volume 1 appendix A, ASHRAE 135 clause 21 (BACnet), OPC 10000-4 (OPC UA
services).
"""

from typing import Final

READ, WRITE, OPERATE, MODE, PROGRAM = range(5)
"""Consequence classes: what an act can change. 0 nothing, 1 values, 2 the process directly, 3 the run state
of a device, 4 its logic or firmware."""
CONSEQUENCES: Final = ("read", "write", "control", "mode", "program")
"""What the classes are called where people write them: in conduits of the plant file."""


def _words(*lines: str) -> list[str]:
    return " ".join(lines).split()


Function = tuple[int | str, str, int, str | None, str]
"""Code (or None-like text where the protocol has names only), name, consequence, ATT&CK technique, plain
words."""

MODBUS: Final[tuple[Function, ...]] = (
    (1, "READ_COILS", READ, None, "reads coils"),
    (2, "READ_DISCRETE_INPUTS", READ, None, "reads discrete inputs"),
    (3, "READ_HOLDING_REGISTERS", READ, None, "reads holding registers"),
    (4, "READ_INPUT_REGISTERS", READ, None, "reads input registers"),
    (5, "WRITE_SINGLE_COIL", WRITE, "T0836", "switches a coil"),
    (6, "WRITE_SINGLE_REGISTER", WRITE, "T0836", "writes a register"),
    (7, "READ_EXCEPTION_STATUS", READ, None, "reads the exception status"),
    (8, "DIAGNOSTICS", READ, None, "runs a diagnostic function"),
    (11, "GET_COMM_EVENT_COUNTER", READ, None, "reads the event counter"),
    (12, "GET_COMM_EVENT_LOG", READ, None, "reads the event log"),
    (15, "WRITE_MULTIPLE_COILS", WRITE, "T0836", "switches coils"),
    (16, "WRITE_MULTIPLE_REGISTERS", WRITE, "T0836", "writes registers"),
    (17, "REPORT_SLAVE_ID", READ, "T0888", "asks the device what it is"),
    (20, "READ_FILE_RECORD", READ, None, "reads a file record"),
    (21, "WRITE_FILE_RECORD", WRITE, "T0836", "writes a file record"),
    (22, "MASK_WRITE_REGISTER", WRITE, "T0836", "changes bits of a register"),
    (23, "READ_WRITE_MULTIPLE_REGISTERS", WRITE, "T0836", "reads and writes registers"),
    (24, "READ_FIFO_QUEUE", READ, None, "reads a queue"),
    (43, "ENCAP_INTERFACE_TRANSPORT", READ, "T0888", "asks the device what it is"),
    (90, "PROGRAM_UNITY", PROGRAM, "T0843", "uses the vendor's programming function (UMAS)"),
    (125, "FIRMWARE_REPLACEMENT", PROGRAM, "T0857", "replaces the firmware"),
    (13, "PROGRAM_484", PROGRAM, "T0843", "uses a programming function"),
    (18, "PROGRAM_584_984", PROGRAM, "T0843", "uses a programming function"),
    (40, "PROGRAM_CONCEPT", PROGRAM, "T0843", "uses a programming function"),
    (126, "PROGRAM_584_984_2", PROGRAM, "T0843", "uses a programming function"),
    ("8.1", "DIAGNOSTICS:restart", MODE, "T0816", "restarts the device's communication"),
    ("8.4", "DIAGNOSTICS:listen_only", MODE, "T0816", "silences the device (listen only)"),
)

DNP3: Final[tuple[Function, ...]] = (
    (0, "CONFIRM", READ, None, "confirms a message"),
    (1, "READ", READ, None, "reads points"),
    (2, "WRITE", WRITE, "T0836", "writes points"),
    (3, "SELECT", OPERATE, "T0855", "selects an output to operate"),
    (4, "OPERATE", OPERATE, "T0855", "operates an output"),
    (5, "DIRECT_OPERATE", OPERATE, "T0855", "operates an output directly"),
    (6, "DIRECT_OPERATE_NR", OPERATE, "T0855", "operates an output directly, without an answer"),
    (7, "IMMED_FREEZE", READ, None, "freezes counters"),
    (8, "IMMED_FREEZE_NR", READ, None, "freezes counters"),
    (9, "FREEZE_CLEAR", READ, None, "freezes and clears counters"),
    (10, "FREEZE_CLEAR_NR", READ, None, "freezes and clears counters"),
    (11, "FREEZE_AT_TIME", READ, None, "freezes counters at a time"),
    (12, "FREEZE_AT_TIME_NR", READ, None, "freezes counters at a time"),
    (13, "COLD_RESTART", MODE, "T0816", "restarts the outstation (cold)"),
    (14, "WARM_RESTART", MODE, "T0816", "restarts the outstation (warm)"),
    (15, "INITIALIZE_DATA", MODE, "T0816", "resets the outstation's data"),
    (16, "INITIALIZE_APPL", MODE, "T0858", "resets an application"),
    (17, "START_APPL", MODE, "T0858", "starts an application"),
    (18, "STOP_APPL", MODE, "T0881", "stops an application"),
    (19, "SAVE_CONFIG", PROGRAM, "T0889", "saves a configuration"),
    (20, "ENABLE_UNSOLICITED", READ, None, "lets the outstation report by itself"),
    (21, "DISABLE_UNSOLICITED", MODE, "T0878", "stops the outstation's own reports"),
    (22, "ASSIGN_CLASS", WRITE, "T0836", "changes the class of points"),
    (23, "DELAY_MEASURE", READ, None, "measures the delay"),
    (24, "RECORD_CURRENT_TIME", READ, None, "takes the time"),
    (25, "OPEN_FILE", WRITE, "T0867", "opens a file"),
    (26, "CLOSE_FILE", READ, None, "closes a file"),
    (27, "DELETE_FILE", PROGRAM, "T0872", "deletes a file"),
    (28, "GET_FILE_INFO", READ, None, "asks about a file"),
    (29, "AUTHENTICATE_FILE", READ, None, "authenticates for a file"),
    (30, "ABORT_FILE", READ, None, "aborts a file transfer"),
    (31, "ACTIVATE_CONFIG", PROGRAM, "T0889", "activates a configuration"),
    (32, "AUTHENTICATE_REQ", READ, None, "authenticates"),
    (33, "AUTHENTICATE_ERR", READ, None, "reports a failed authentication"),
    (129, "RESPONSE", READ, None, "answers"),
    (130, "UNSOLICITED_RESPONSE", READ, None, "reports by itself"),
)

S7COMM: Final[tuple[Function, ...]] = (
    (0x00, "CPU Services", READ, None, "asks for CPU services"),
    (0x04, "Read Variable", READ, None, "reads variables"),
    (0x05, "Write Variable", WRITE, "T0836", "writes variables"),
    (0x1A, "Request Download", PROGRAM, "T0843", "asks to download a block to the PLC"),
    (0x1B, "Download Block", PROGRAM, "T0843", "downloads a block to the PLC"),
    (0x1C, "Download Ended", PROGRAM, "T0843", "ends a download to the PLC"),
    (0x1D, "Start Upload", WRITE, "T0845", "starts to copy a block out of the PLC"),
    (0x1E, "Upload", WRITE, "T0845", "copies a block out of the PLC"),
    (0x1F, "End Upload", WRITE, "T0845", "ends copying a block out of the PLC"),
    (0x28, "PLC Control", MODE, "T0858", "controls the PLC"),
    (0x29, "PLC Stop", MODE, "T0881", "stops the PLC"),
    (0xF0, "Setup Communication", READ, None, "opens a session"),
    # Userdata requests, group and subfunction, see "S7comm userdata function groups" of the dissectors.
    ("41.", "Programmer Commands", OPERATE, "T0855", "uses a programmer function (watch, force, modify)"),
    ("41.0c", "Programmer Commands:Erase Memory", MODE, "T0809", "erases the PLC's memory"),
    ("42.", "Cyclic Data", READ, None, "subscribes to values"),
    ("43.", "Block Functions", READ, "T0888", "asks for the program's blocks"),
    ("44.", "CPU Functions", READ, "T0888", "asks the CPU about itself"),
    ("45.", "Security", READ, None, "uses a security function"),
    ("46.", "Programmable Block Functions", WRITE, "T0836", "sends data between programs"),
    ("47.", "Time Functions", READ, None, "reads the clock"),
    ("47.02", "Time Functions:Set Clock", WRITE, "T0836", "sets the clock"),
    ("47.04", "Time Functions:Set Clock", WRITE, "T0836", "sets the clock"),
    ("40.", "Mode Transition", MODE, "T0858", "changes the operating mode"),
)

S7COMM_PLUS: Final[tuple[Function, ...]] = (
    (0x04BB, "Explore", READ, "T0888", "explores the PLC's objects"),
    (0x04CA, "Create Object", WRITE, "T0836", "creates an object"),
    (0x04D4, "Delete Object", WRITE, "T0836", "deletes an object"),
    (0x04F2, "Set Variable", WRITE, "T0836", "writes a variable"),
    (0x0524, "Get Link", READ, None, "reads a link"),
    (0x0542, "Set Multi Variables", WRITE, "T0836", "writes variables"),
    (0x054C, "Get Multi Variables", READ, None, "reads variables"),
    (0x0556, "Begin Sequence", READ, None, "begins a sequence"),
    (0x0560, "End Sequence", READ, None, "ends a sequence"),
    (0x056B, "Invoke", OPERATE, "T0871", "calls a function of the PLC"),
    (0x0586, "Get Variable Sub Streamed", READ, None, "reads variables"),
)

CIP: Final[tuple[Function, ...]] = (
    (0x01, "Get Attributes All", READ, None, "reads all attributes"),
    (0x02, "Set Attributes All", WRITE, "T0836", "writes all attributes"),
    (0x03, "Get Attribute List", READ, None, "reads attributes"),
    (0x04, "Set Attribute List", WRITE, "T0836", "writes attributes"),
    (0x05, "Reset", MODE, "T0816", "resets the device"),
    (0x06, "Start", MODE, "T0858", "starts the device"),
    (0x07, "Stop", MODE, "T0881", "stops the device"),
    (0x08, "Create", PROGRAM, "T0843", "creates an object"),
    (0x09, "Delete", PROGRAM, "T0889", "deletes an object"),
    (0x0A, "Multiple Service Packet", READ, None, "sends several requests at once"),
    (0x0D, "Apply Attributes", WRITE, "T0836", "applies attributes"),
    (0x0E, "Get Attribute Single", READ, None, "reads an attribute"),
    (0x10, "Set Attribute Single", WRITE, "T0836", "writes an attribute"),
    (0x11, "Find Next Object Instance", READ, None, "looks for objects"),
    (0x15, "Restore", PROGRAM, "T0889", "restores a configuration"),
    (0x16, "Save", PROGRAM, "T0889", "saves a configuration"),
    (0x17, "No Operation", READ, None, "does nothing"),
    (0x18, "Get Member", READ, None, "reads a member"),
    (0x19, "Set Member", WRITE, "T0836", "writes a member"),
    (0x1A, "Insert Member", WRITE, "T0836", "inserts a member"),
    (0x1B, "Remove Member", WRITE, "T0836", "removes a member"),
    (0x1C, "Group Sync", READ, None, "synchronises a group"),
    # Class specific (0x32..0x63): the class is part of the token; these hold for all classes that use them.
    (0x4B, "Execute PCCC", WRITE, "T0836", "sends an older Allen-Bradley command"),
    (0x4C, "Read Tag", READ, None, "reads a tag"),
    (0x4D, "Write Tag", WRITE, "T0836", "writes a tag"),
    (0x4E, "Read Modify Write Tag", WRITE, "T0836", "changes bits of a tag"),
    (0x52, "Read Tag Fragmented", READ, None, "reads a tag"),
    (0x53, "Write Tag Fragmented", WRITE, "T0836", "writes a tag"),
    (0x54, "Forward Open", READ, None, "opens a connection"),
    (0x5B, "Large Forward Open", READ, None, "opens a connection"),
    (0x55, "Get Instance Attribute List", READ, "T0861", "lists the tags"),
)

ENIP: Final[tuple[Function, ...]] = (
    (0x00, "NOP", READ, None, "does nothing"),
    (0x01, "List Targets", READ, "T0846", "asks who is there"),
    (0x04, "List Services", READ, "T0846", "asks for the device's services"),
    (0x63, "List Identity", READ, "T0846", "asks the device what it is"),
    (0x64, "List Interfaces", READ, "T0846", "asks for the device's interfaces"),
    (0x65, "Register Session", READ, None, "opens a session"),
    (0x66, "Unregister Session", READ, None, "closes a session"),
    (0x6F, "Send RR Data", READ, None, "sends a request"),
    (0x70, "Send Unit Data", READ, None, "sends data on a connection"),
    (0x72, "Indicate Status", READ, None, "asks for the status"),
    (0x73, "Cancel", READ, None, "cancels a request"),
)

_BACNET_READS: Final = _words(
    "read_property read_property_multiple read_property_conditional read_range get_alarm_summary",
    "get_event_information get_enrollment_summary subscribe_cov subscribe_cov_property",
    "confirmed_cov_notification atomic_read_file unconfirmed_cov_notification",
    "confirmed_event_notification unconfirmed_event_notification i_am i_have acknowledge_alarm",
    "confirmed_text_message unconfirmed_text_message confirmed_audit_notification audit_log_query",
)
_BACNET_FINDS: Final = _words("who_is who_has who_am_i you_are who_is_router_to_network i_am_router_to_network")
BACNET: Final[tuple[Function, ...]] = (
    *((name, name, READ, None, name.replace("_", " ")) for name in _BACNET_READS),
    *((name, name, READ, "T0846", "looks for devices") for name in _BACNET_FINDS),
    ("write_property", "write_property", WRITE, "T0836", "writes a property"),
    ("write_property_multiple", "write_property_multiple", WRITE, "T0836", "writes properties"),
    ("write_group", "write_group", WRITE, "T0836", "writes to a group"),
    ("add_list_element", "add_list_element", WRITE, "T0836", "adds to a list"),
    ("remove_list_element", "remove_list_element", WRITE, "T0836", "removes from a list"),
    ("time_synchronization", "time_synchronization", WRITE, "T0836", "sets the clock"),
    ("utc_time_synchronization", "utc_time_synchronization", WRITE, "T0836", "sets the clock"),
    ("life_safety_operation", "life_safety_operation", OPERATE, "T0855", "operates a life safety object"),
    ("private_transfer", "private_transfer", WRITE, "T0855", "uses a vendor's own service"),
    (
        "device_communication_control",
        "device_communication_control",
        MODE,
        "T0803",
        "silences or wakes a device",
    ),
    ("reinitialize_device", "reinitialize_device", MODE, "T0816", "restarts a device"),
    ("create_object", "create_object", PROGRAM, "T0889", "creates an object"),
    ("delete_object", "delete_object", PROGRAM, "T0889", "deletes an object"),
    ("atomic_write_file", "atomic_write_file", PROGRAM, "T0867", "writes a file to a device"),
)

_OPCUA_READS: Final = _words(
    "FindServers FindServersOnNetwork GetEndpoints CreateSession ActivateSession CloseSession Cancel",
    "Browse BrowseNext TranslateBrowsePathsToNodeIds RegisterNodes UnregisterNodes QueryFirst QueryNext",
    "Read HistoryRead CreateMonitoredItems ModifyMonitoredItems SetMonitoringMode SetTriggering",
    "DeleteMonitoredItems CreateSubscription ModifySubscription SetPublishingMode Publish Republish",
    "TransferSubscriptions DeleteSubscriptions OpenSecureChannel CloseSecureChannel Hello RegisterServer",
    "RegisterServer2",
)
OPCUA: Final[tuple[Function, ...]] = (
    *((name, name, READ, None, f"uses the service {name}") for name in _OPCUA_READS),
    ("Write", "Write", WRITE, "T0836", "writes nodes"),
    ("HistoryUpdate", "HistoryUpdate", WRITE, "T0836", "changes the history"),
    ("Call", "Call", OPERATE, "T0871", "calls a method"),
    ("AddNodes", "AddNodes", PROGRAM, "T0889", "adds nodes"),
    ("AddReferences", "AddReferences", PROGRAM, "T0889", "adds references"),
    ("DeleteNodes", "DeleteNodes", PROGRAM, "T0889", "deletes nodes"),
    ("DeleteReferences", "DeleteReferences", PROGRAM, "T0889", "deletes references"),
)

PROFINET: Final[tuple[Function, ...]] = (
    (0, "Connect", READ, None, "opens a relation with the device"),
    (1, "Release", WRITE, "T0855", "ends a relation with the device"),
    (2, "Read", READ, None, "reads a record"),
    (3, "Write", WRITE, "T0836", "writes a record"),
    (4, "Control", OPERATE, "T0855", "controls the device"),
    (5, "Read Implicit", READ, None, "reads a record"),
)

GENISYS: Final[tuple[Function, ...]] = (
    (0xF1, "Acknowledge Client", READ, None, "acknowledges"),
    (0xFB, "Poll", READ, None, "polls a field unit"),
    (0xFA, "Acknowledge and Poll", READ, None, "acknowledges and polls a field unit"),
    (0xFD, "Recall Header", READ, None, "asks for all indications"),
    (0xF2, "Indication Data", READ, None, "reports indications"),
    (0xF3, "Control Checkback", OPERATE, "T0855", "repeats a control for checking"),
    (0xFC, "Control Data", OPERATE, "T0855", "sends controls to a field unit"),
    (0xFE, "Execute Controls", OPERATE, "T0855", "has a field unit execute controls"),
    (0xF9, "Common Control", OPERATE, "T0855", "sends a control to all field units"),
)

FUNCTIONS: Final[dict[str, tuple[Function, ...]]] = {
    "modbus": MODBUS,
    "dnp3": DNP3,
    "s7comm": S7COMM,
    "s7comm_plus": S7COMM_PLUS,
    "cip": CIP,
    "enip": ENIP,
    "bacnet": BACNET,
    "opcua": OPCUA,
    "profinet_io_cm": PROFINET,
    "genisys": GENISYS,
}
"""One table per plant protocol, by the name in the ``protocol`` column."""

NAMES: Final[dict[str, dict[int | str, str]]] = {
    protocol: {code: name for code, name, *_ in functions} for protocol, functions in FUNCTIONS.items()
}
"""Protocol -> function code -> name."""

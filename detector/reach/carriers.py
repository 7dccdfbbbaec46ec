"""Which conversations carry an intruder: by which somebody enters, runs or controls something at the other end."""

from typing import Final

from detector.assets import services
from detector.assets.industrial import FUNCTIONS

ADMINISTRATION: Final = frozenset(
    ["docker", "docker-tls", "kubernetes", "kubelet", "vmware-auth", "ipmi", "webmin", "mssql"]
)
"""Containers and hypervisors run what they are told, so do management controllers and
administration pages, and databases with stored procedures."""

SERVICES: Final = frozenset(
    [*services.INTERACTIVE_SERVICES, *services.SESSION_SERVICES, *services.OT_SERVICES, *ADMINISTRATION]
)
"""Services by port: remote services (ATT&CK T1021, T0886), plant protocols, which control what they reach (T0855),
administration."""

PROTOCOLS: Final = frozenset([*SERVICES, *FUNCTIONS, "dce_rpc"])
"""Protocols of acts, whatever port they came over."""

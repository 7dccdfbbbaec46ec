"""The inventory as files: JSON lines for programs, CSV for people, CycloneDX for asset tools.

All texts out of logs are somebody else's: JSON escapes them, CSV gets them without controls and so that no spreadsheet
takes them for a formula.
"""

import uuid
from collections.abc import Sequence
from typing import Any, Final

import orjson

import detector
from detector.inventory.model import Asset, as_dict
from detector.renderings.strings import spreadsheet, whole
from detector.renderings.tables import csv_text

CSV_COLUMNS: Final = (
    "address", "state", "approved", "name", "role", "learned_role", "confidence", "declared_role", "contradiction",
    "level", "criticality", "zone", "owner", "macs", "maker", "ot_roles", "offers", "uses", "software", "devices",
    "certificates", "names", "evidence", "first_seen", "last_seen",
)  # fmt: skip
_BETWEEN: Final = "; "
_NAMESPACE: Final = uuid.UUID("6f1c0a52-3d0e-5b0e-9b1e-0f6a7c5d2e11")  # of our own; the same content, the same number


def as_lines(assets: Sequence[Asset]) -> bytes:
    """One JSON object a line."""
    return b"".join(orjson.dumps(as_dict(asset)) + b"\n" for asset in assets)


def as_csv(assets: Sequence[Asset]) -> str:
    """A table with `CSV_COLUMNS`; what is a list has semicolons between (RFC 4180 otherwise)."""
    return csv_text(CSV_COLUMNS, ([cell(getattr(asset, column)) for column in CSV_COLUMNS] for asset in assets))


def cell(value: Any) -> str:
    """A value as a cell.

    >>> cell("=1+1"), cell(("a", "b")), cell(None), cell(True)
    ("'=1+1", 'a; b', '', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        text = _BETWEEN.join(item if isinstance(item, str) else f"{item.service} ({item.hosts})" for item in value)
    else:
        text = "" if value is None else str(value)
    return spreadsheet(text)


def as_cyclonedx(assets: Sequence[Asset]) -> bytes:
    """CycloneDX 1.6 (ECMA-424), a device for each host; hardware address and purpose as its ``cdx:device`` taxonomy
    names them, what that has no name for under ``eastwest:``. The serial number follows from the content."""
    components = [_component(asset) for asset in assets if asset.state != "gone"]
    content = orjson.dumps(components)
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content.hex())}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "eastwest", "version": detector.__version__}]},
            "lifecycles": [{"phase": "operations"}],
        },
        "components": components,
    }
    return orjson.dumps(bom, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def _component(asset: Asset) -> dict[str, Any]:
    told = {
        "cdx:device:function": asset.role,
        **({"cdx:device:macAddress": asset.macs[0]} if asset.macs else {}),
        "eastwest:address": asset.address,
        "eastwest:state": asset.state,
        "eastwest:approved": "true" if asset.approved else "false",
        "eastwest:confidence": str(asset.confidence),
        "eastwest:criticality": asset.criticality,
        "eastwest:zone": asset.zone,
        **({"eastwest:purdue_level": f"{asset.level:g}"} if asset.level is not None else {}),
        **({"eastwest:owner": asset.owner} if asset.owner else {}),
        **({"eastwest:first_seen": asset.first_seen} if asset.first_seen else {}),
        **({"eastwest:last_seen": asset.last_seen} if asset.last_seen else {}),
        **({"eastwest:ot_roles": ", ".join(asset.ot_roles)} if asset.ot_roles else {}),
    }
    return {
        "type": "device",
        "bom-ref": f"host:{asset.address}",
        "name": whole(asset.name or asset.address),
        **({"manufacturer": {"name": asset.maker}} if asset.maker else {}),
        **({"description": whole("; ".join(asset.devices))} if asset.devices else {}),
        "properties": [{"name": name, "value": whole(value)} for name, value in told.items()],
    }

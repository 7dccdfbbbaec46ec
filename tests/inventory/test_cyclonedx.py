"""The inventory as CycloneDX, held against the schema that the project of CycloneDX publishes."""

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.inventory.logs import conn, row, take

HOSTILE = "=cmd|' /C calc'!A0<script>\u202e\x00'\"\\"
VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What the command writes of hosts with all that a log may say of them."""
    folder = tmp_path_factory.mktemp("inventory")
    flows = [conn(f"10.1.0.{n}", "10.2.0.1", 445) for n in range(1, 5)] + [conn("10.1.0.1", "10.4.0.1", 502)]
    take(
        folder,
        plant={"zones": [{"name": HOSTILE, "cidrs": ["10.1.0.0/16"], "purdue_level": 4}]},
        conn=flows,
        dhcp=[{"ts": 1.0, "mac": "00:1b:1b:12:34:56", "assigned_addr": "10.1.0.1", "host_name": HOSTILE}],
        http=[row("10.1.0.1", "10.2.0.1", 80, user_agent=HOSTILE, method="GET", host="a")],
        software=[{"ts": 1.0, "host": "10.2.0.1", "software_type": "HTTP::SERVER", "name": HOSTILE,
                   "unparsed_version": HOSTILE, "version.major": 2}],
        modbus=[row("10.1.0.1", "10.4.0.1", 502, func="READ_COILS")],
    )  # fmt: skip
    return (folder / "out" / "inventory.cdx.json").read_text("utf-8")


def test_the_official_schema_takes_it(written):
    assert len(json.loads(written)["components"]) == 6
    assert VALIDATOR.validate_str(written) is None


@pytest.mark.parametrize("field", ["bom-ref", "type", "name"])
def test_the_schema_is_strict(written, field):
    made = json.loads(written)
    made["components"][0][field] = ["no text"]
    assert VALIDATOR.validate_str(json.dumps(made)) is not None

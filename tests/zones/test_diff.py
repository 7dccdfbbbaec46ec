"""`eastwest zones diff`: what changes, and who moves."""

import yaml
from typer.testing import CliRunner

from detector.assets.plant import Plant
from detector.cli import app
from detector.zones.diff import Change, diff

OLD = {
    "zones": [{"name": "a", "cidrs": ["10.1.0.0/16"]}, {"name": "b", "cidrs": ["10.2.0.0/16"]}, {"name": "gone"}],
    "conduits": [{"from": "a", "to": "b", "services": ["smb", "rdp"], "note": "old"}],
    "known_servers": {"backup": ["10.1.0.5"]},
}
NEW = {
    "zones": [{"name": "a", "cidrs": ["10.1.0.0/16"]}, {"name": "b", "cidrs": ["10.3.0.0/16"], "hosts": ["10.1.0.5"]}],
    "conduits": [
        {"from": "a", "to": "b", "services": ["rdp", "smb"], "note": "new"},
        {"from": "b", "to": "a", "services": ["ssh"], "windows": [{"day": "mon"}], "direction": "both"},
    ],
    "known_servers": {"backup": ["10.1.0.5"]},
}


def test_what_changes():
    assert diff(Plant.model_validate(OLD), Plant.model_validate(NEW)) == [
        Change("changed", "zone", "b", "cidrs -10.2.0.0/16 +10.3.0.0/16; hosts +10.1.0.5"),
        Change("removed", "zone", "gone", ""),
        Change("added", "conduit", "b <> a", 'services ssh; operations any; windows {"day":"mon"}'),
        Change("moved", "host", "10.1.0.5", "a > b"),
    ]
    assert diff(Plant.model_validate(OLD), Plant.model_validate(OLD)) == []


def test_the_command(tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(yaml.safe_dump(OLD))
    new.write_text(yaml.safe_dump(NEW))
    assert CliRunner().invoke(app, ["zones", "diff", str(old), str(old)]).exit_code == 0
    shown = CliRunner().invoke(app, ["zones", "diff", str(old), str(new)])
    assert shown.exit_code == 1
    assert "moved    host     10.1.0.5: a > b" in shown.output

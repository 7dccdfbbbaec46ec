"""The page about zones says what the code does."""

from dataclasses import fields
from pathlib import Path

from detector.assets.industrial import CONSEQUENCES
from detector.assets.plant import Conduit, Zone
from detector.zones.model import ConduitUse, Violation

PAGE = (Path(__file__).parents[2] / "docs" / "zones.md").read_text(encoding="utf-8")


def test_each_field_is_documented():
    for kind in (Violation, ConduitUse):
        assert all(f"`{field.name}`" in PAGE for field in fields(kind))
    for model in (Zone, Conduit):
        assert all(f"`{field.alias or name}`" in PAGE for name, field in model.model_fields.items())
    assert all(f"`{word}`" in PAGE for word in CONSEQUENCES)

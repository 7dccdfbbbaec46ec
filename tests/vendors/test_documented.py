"""The page about suppliers says what the code does."""

from pathlib import Path

from typer.main import get_command

from detector.assets.vendors import Contact, Vendor
from detector.vendors.commands import vendors_app
from detector.vendors.judge import KINDS
from detector.vendors.run import SESSION_COLUMNS, VIOLATION_COLUMNS

PAGE = (Path(__file__).parents[2] / "docs" / "vendors.md").read_text(encoding="utf-8")


def test_each_field_kind_and_option_is_documented():
    assert all(f"`{name}`" in PAGE for name in (*Vendor.model_fields, *Contact.model_fields))
    assert all(f"`{name}`" in PAGE for name in (*SESSION_COLUMNS, *VIOLATION_COLUMNS))
    assert all(f"| `{kind}` | {severity} |" in PAGE for kind, (_, severity) in KINDS.items())
    for command in get_command(vendors_app).commands.values():
        options = [option for parameter in command.params for option in parameter.opts if option.startswith("--")]
        assert all(f"`{option}`" in PAGE for option in options if option != "--help")

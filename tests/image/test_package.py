"""What is built and given away: the wheel, the source archive, and the bill of materials."""

import json
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from tests.test_layers import LOCKS, pins

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
SOURCES = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "detector").rglob("*")
    if path.is_file() and "__pycache__" not in path.parts
} | {f"detector/models/shipped/{path.name}" for path in (ROOT / "models").iterdir()}  # which is a link to it


def built(builder, folder):
    return Path(next(builder(str(ROOT)).build(directory=str(folder))))


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path):
    wheel = built(WheelBuilder, tmp_path)
    names = set(zipfile.ZipFile(wheel).namelist())
    about = f"eastwest-{VERSION}.dist-info"
    files = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE", "licenses/NOTICE")
    assert names == SOURCES | {f"{about}/{name}" for name in files}
    assert {"detector/py.typed", "detector/backtest/report.html.j2", "detector/assets/makers.py"} <= names
    assert "detector/models/shipped/simulated.model" in names
    assert wheel.read_bytes() == built(WheelBuilder, tmp_path / "again").read_bytes()


def test_the_source_archive_holds_what_it_takes_to_build_and_nothing_else(tmp_path):
    with tarfile.open(built(SdistBuilder, tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    texts = {
        "CHANGELOG.md",
        "LICENSE",
        "NOTICE",
        "README.md",
        "SECURITY.md",
        "pyproject.toml",
        "PKG-INFO",
        ".gitignore",
    }
    locks = {f"requirements/{path.name}" for path in (ROOT / "requirements").iterdir()}
    assert names == SOURCES | texts | locks


@pytest.fixture(scope="module")
def bills(tmp_path_factory):
    """The bytes that `make sbom` writes, twice."""
    target = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nsbom:")[2].partition("\n\n")[0]
    command = target.partition("$(BIN)/cyclonedx-py ")[2].replace("\\\n", " ").split()
    written = []
    for number in range(2):
        out = tmp_path_factory.mktemp("sbom") / f"{number}.json"
        command[-1] = str(out)
        program = Path(sys.executable).with_name("cyclonedx-py")
        subprocess.run([program, *command], cwd=ROOT, check=True, capture_output=True)
        written.append(out.read_bytes())
    return written


def test_the_bill_of_materials_is_the_same_each_time_and_as_cyclonedx_has_it(bills):
    assert bills[0] == bills[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bills[0].decode()) is None


def test_the_bill_of_materials_names_what_is_locked_with_version_and_hashes(bills):
    bill = json.loads(bills[0])
    assert (bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == ("eastwest", VERSION)
    listed = {part["name"]: part for part in bill["components"]}
    assert {name: part["version"] for name, part in listed.items()} == pins(LOCKS[0])
    for name, part in listed.items():
        assert part["purl"].startswith(f"pkg:pypi/{name}@"), name
        assert part["externalReferences"][0]["hashes"][0]["alg"] == "SHA-256", name

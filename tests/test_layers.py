"""The house rules that a machine can check: who imports whom, and what the locks may hold."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = [REPOSITORY / "requirements" / name for name in ("runtime.lock", "dev.lock")]
PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[a-z0-9, -]+\])?==(?P<version>[^\s;]+)")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [str(program), "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_package_keeps_its_layers():
    checked = lint_imports(REPOSITORY)
    assert checked.returncode == 0, checked.stdout + checked.stderr


# --- the rules themselves, on a small package of the same shape ---

ALLOWED = {
    "cli": "import detector.service, detector.backtest",
    "engine": "import detector.score.forest, detector.sources.kafka",
    "metrics": "import prometheus_client",
    "score.forest": "import sklearn.ensemble, river.drift, detector.state, detector.metrics",
    "sinks.kafka": "from kafka import KafkaProducer",
    "sources.kafka": "import kafka.errors",
    "state": "import detector.records",
}
BROKEN = [
    ("records", "import detector.alerts", "imports only from the layers below"),
    ("state", "from detector.engine import Engine", "imports only from the layers below"),
    ("formats.zeek", "import detector.normalize", "imports only from the layers below"),
    ("backtest", "import detector.simulate", "imports only from the layers below"),
    ("engine", "def f():\n    import detector.cli", "imports only from the layers below"),
    ("leftovers", "", "imports only from the layers below"),
    ("engine", "import sklearn.ensemble", "stay in detector.score"),
    ("correlate.chains", "from river import drift", "stay in detector.score"),
    ("service", "from kafka import KafkaConsumer", "Kafka stays in"),
    ("sinks.outbox", "import prometheus_client", "The Prometheus client stays in"),
]


def house(folder: Path, modules: dict[str, str]) -> Path:
    """A package `detector` with every layer of the real contract, and this code in these modules."""
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    layers = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    empty = dict.fromkeys(re.findall(r"\w+", " ".join(layers)), "")
    for module, code in (empty | modules).items():
        path = folder.joinpath("detector", *module.split("."), "__init__.py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(code, encoding="utf-8")
    (folder / "detector" / "__init__.py").touch()
    return folder


def test_imports_that_are_allowed_pass(tmp_path):
    checked = lint_imports(house(tmp_path, ALLOWED))
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(("module", "code", "rule"), BROKEN)
def test_an_import_against_the_rules_is_caught(tmp_path, module, code, rule):
    checked = lint_imports(house(tmp_path, ALLOWED | {module: code}))
    assert checked.returncode == 1, checked.stdout + checked.stderr
    [broken] = [line for line in checked.stdout.splitlines() if " BROKEN" in line]
    assert rule in broken


# --- the locks ---


def requirements(lock: Path) -> list[str]:
    """The entries of a lock, one string each, with their hashes."""
    text = re.sub(r"^\s*#.*\n", "", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [entry.strip() for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]


def pins(lock: Path) -> dict[str, str]:
    found = [PINNED.match(entry) for entry in requirements(lock)]
    return {canonicalize_name(pin["name"]): pin["version"] for pin in found if pin}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_pinned_hashes_and_no_address(lock):
    text = lock.read_text(encoding="utf-8")
    assert not re.search(r"http|://|index-url|find-links|trusted-host| @ |(^|\s)/\w", text)
    entries = requirements(lock)
    assert entries
    for entry in entries:
        assert PINNED.match(entry), f"not pinned: {entry[:80]}"
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), f"no hash: {entry[:80]}"


def wanted(*parts: list[str]) -> list[Requirement]:
    return [Requirement(line) for part in parts for line in part]


@pytest.mark.parametrize(
    ("lock", "asked"),
    [
        (LOCKS[0], wanted(PYPROJECT["project"]["dependencies"], PYPROJECT["dependency-groups"]["build"])),
        (
            LOCKS[1],
            wanted(
                PYPROJECT["project"]["dependencies"],
                *PYPROJECT["project"]["optional-dependencies"].values(),
                *PYPROJECT["dependency-groups"].values(),
            ),
        ),
    ],
    ids=["runtime.lock", "dev.lock"],
)
def test_a_lock_fits_what_the_project_asks_for(lock, asked):
    pinned = pins(lock)
    stale = [str(r) for r in asked if not r.specifier.contains(pinned.get(canonicalize_name(r.name), "0"))]
    assert not stale, "run `make lock`"


def test_development_and_runtime_pin_the_same_versions():
    runtime, dev = map(pins, LOCKS)
    assert runtime.items() <= dev.items()

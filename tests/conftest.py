"""What all tests share: recorded captures, programs of the system, and repeatable property tests."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from selenium import webdriver

REPOSITORY = Path(__file__).resolve().parent.parent
IN_CI = bool(os.environ.get("CI"))

# No deadline: the first call of a compiled kernel includes its compilation.
# CI runs the same examples every time.
settings.register_profile("eastwest", deadline=None, derandomize=IN_CI, max_examples=60)
settings.load_profile("eastwest")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long fault tests, and those of a cluster, run only when they are asked for."""
    for item in items:
        if "shared_data" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared_data)
    for marker in ("faults", "cluster"):
        unasked = [item for item in items if item.get_closest_marker(marker)]
        if unasked and marker not in config.option.markexpr:
            config.hook.pytest_deselected(items=unasked)
            items[:] = [item for item in items if item not in unasked]


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: whoever collects garbage need not look at a million of their objects again."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """At the end all of it goes, or libraries would call it leaked."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded captures, which is not part of the repository; skips where it is absent."""
    folder = Path(os.environ.get("EASTWEST_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no recorded captures: put them in ../shared/data or set EASTWEST_SHARED_DATA")
    return folder


def find_tool(name: str) -> str:
    """The path of a program; where it is missing the test skips, but in CI it fails."""
    # Debian keeps daemons such as softflowd where an ordinary user's PATH does not look.
    found = shutil.which(name, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if found:
        return found
    if IN_CI:
        pytest.fail(f"{name} is not installed, and in CI no test may skip for that")
    pytest.skip(f"{name} is not installed")


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str], str]:
    """Call it with a program's name to get its path, or to leave the test."""
    return find_tool


CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
def browse(require_tool: Callable[[str], str], tmp_path: Path) -> Callable[..., str]:
    """Call it with a page and options of chromium to open the page and get what was printed."""
    chromium = require_tool("chromium")

    def run(html: str, *options: str) -> str:
        page = tmp_path / "report.html"
        page.write_text(html, encoding="utf-8")
        command = [chromium, *CHROMIUM, f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout

    return run


@pytest.fixture(scope="session")
def driven(require_tool: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A browser that tests click and type in; what it asks the network and says on its console is kept."""
    options = webdriver.ChromeOptions()
    options.binary_location = require_tool("chromium")
    for option in (*CHROMIUM, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", "--window-size=1280,900"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(require_tool("chromedriver")))
    yield driver
    driver.quit()

"""One small plant for all pages and notebooks, and commands that run in this process."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector.cli import app
from detector.simulate import simulate


@pytest.fixture(scope="session")
def plant(tmp_path_factory) -> Path:
    """As the pages and notebooks simulate it."""
    folder = tmp_path_factory.mktemp("notebooks") / "plant"
    simulate(folder, days=4, hosts=60, seed=7, density=0.2, netflow=False)
    return folder


@pytest.fixture
def shell(require_tool) -> Callable[[str], str]:
    """Call it with a line of a page to run it here; what it printed."""

    def run(line: str) -> str:
        program, *words = shlex.split(line)
        if program == "openssl":
            return subprocess.run([require_tool(program), *words], check=True, capture_output=True, text=True).stdout
        assert program == "eastwest"
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, f"{line}\n{result.output}"
        return result.output

    return run

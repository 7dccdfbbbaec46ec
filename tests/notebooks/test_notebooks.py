"""Each notebook runs, and is the same in both of its forms."""

import ast
import os
import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
NAMES = [source.stem for source in SOURCES]


def test_there_are_six_and_the_page_names_each():
    page = (FOLDER / "README.md").read_text("utf-8")
    assert len(SOURCES) == 6
    assert all(f"({name}.ipynb)" in page for name in NAMES)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_source_and_notebook_hold_the_same_cells(source):
    wanted = jupytext.read(source).cells
    paired = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert [(cell.cell_type, cell.source) for cell in paired.cells] == [(c.cell_type, c.source) for c in wanted]
    outputs = [output for cell in paired.cells for output in cell.get("outputs", ())]
    assert not any(output.output_type == "error" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs), "a plot"
    assert source.with_suffix(".ipynb").stat().st_size < 300_000
    assert not any(str(Path.home()) in str(output) or "/tmp/" in str(output) for output in outputs)


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_notebooks_hold_no_logic(source):
    """They call, show and tell: no function, no class."""
    code = "\n".join(cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code")
    tree = ast.parse("\n".join(line for line in code.splitlines() if not line.startswith("!")))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.While)]


@pytest.mark.parametrize("source", SOURCES[1:], ids=NAMES[1:])
def test_every_cell_runs(source, plant, shell, monkeypatch, tmp_path, capsys):
    """In this process, which is quicker than a kernel each; the first one runs in a kernel below."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plant").symlink_to(plant)
    names: dict[str, object] = {}
    for cell in jupytext.read(source).cells:
        if cell.cell_type == "code" and cell.source.startswith("!"):
            shell(cell.source.removeprefix("!"))
        elif cell.cell_type == "code":
            exec(compile(cell.source, source.name, "exec"), names)  # noqa: S102 - it is our own page


def test_a_notebook_runs_in_a_kernel(plant, tmp_path, monkeypatch):
    (tmp_path / "plant").symlink_to(plant)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = jupytext.read(SOURCES[0])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2

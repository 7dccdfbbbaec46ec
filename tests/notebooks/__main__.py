"""`make notebooks`: run the sources in `notebooks/`, and write each with its output beside it.

What differs from run to run (times, ids, progress on standard error) is left out, so that a difference is a difference.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbclient
import nbformat

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PROGRESS = re.compile("[━\u2800-\u28ff]")  # bars, and the spinner's dots
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


def main() -> None:
    """All sources, in one folder, so that they share the plant."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["COLUMNS"] = "120"
    with tempfile.TemporaryDirectory() as here:
        for source in sorted(FOLDER.glob("*.py")):
            notebook = jupytext.read(source)
            nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": here}}).execute()
            nbformat.write(plain(notebook), source.with_suffix(".ipynb"))
            print(source.stem)


def plain(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without what differs from run to run."""
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in cell.outputs if output.get("name") != "stderr"])
    return notebook


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """What a command printed as one text, without its progress, which a notebook's terminal mixes in."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    lines = [CONTROL.sub("", line) for line in printed.replace("\r", "\n").splitlines()]
    text = "".join(f"{line}\n" for line in lines if line.strip() and not PROGRESS.search(line))
    rest = [output for output in outputs if output.output_type != "stream"]
    return [nbformat.v4.new_output("stream", name="stdout", text=text), *rest] if text else rest


if __name__ == "__main__":
    main()

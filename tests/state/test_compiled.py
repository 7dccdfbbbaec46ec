"""A changed kernel must never go on running from an old cache."""

import ast
import shutil
from pathlib import Path

import numpy as np

from detector.state import compiled
from detector.state.keys import mix

PACKAGE = Path(compiled.__file__).parents[1]


def test_the_stamp_follows_every_source(tmp_path, monkeypatch):
    copy = tmp_path / "detector"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(compiled, "_PACKAGE", copy)
    before = compiled.stamp()
    assert before == compiled.stamp()
    for source in ("score/calibration.py", "state/counts.py", "normalize/pairing.py"):
        (copy / source).write_text((copy / source).read_text() + "\n# changed\n")
        assert compiled.stamp() != before, source
        before = compiled.stamp()


def test_all_kernels_lie_under_the_stamp():
    """Numba is used through `kernel` only, in folders that the stamp covers."""
    for source in PACKAGE.rglob("*.py"):
        names = {
            name.name
            for node in ast.walk(ast.parse(source.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in node.names
        }
        if source.name != "compiled.py":
            assert "numba" not in names, source
        if "kernel" in names:
            assert source.parent.name in compiled._SOURCES, source


def test_the_cache_lies_in_the_folder_of_the_stamp():
    mix(np.uint64(1), np.uint64(2))
    assert compiled._FOLDER is not None
    assert compiled._FOLDER.endswith(f"kernels-{compiled.stamp()}")
    assert list(Path(compiled._FOLDER).rglob("*.nbi")), "compiled code is kept"
    assert callable(mix.py_func)

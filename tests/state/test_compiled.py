"""A changed kernel must never go on running from an old cache."""

import ast
import os
import shutil
import subprocess
import sys
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


TRY = """
import numpy as np
from detector.state.keys import mix, finalize
print(finalize(np.uint64(7)), sum(finalize.stats.cache_hits.values()), sum(finalize.stats.cache_misses.values()))
{more}
"""


def test_a_cache_that_nobody_may_write_is_read_and_the_rest_is_compiled(tmp_path):
    """As in an image: filled when it was built, then read-only. Root gives up its power to write all the same."""
    bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}

    def told(*before, more=""):
        command = [*before, sys.executable, "-c", TRY.format(more=more)]
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()

    value, hits, misses = told()
    assert (hits, misses) == ("0", "1")
    files = sorted((tmp_path / "kernels").rglob("*"))
    subprocess.run(["chmod", "-R", "a-w", tmp_path / "kernels"], check=True)
    *read, other = told(*bare, more="print(mix(np.uint64(1), np.uint64(2)))")
    assert read == [value, "1", "0"]
    assert int(other) == int(mix(np.uint64(1), np.uint64(2)))
    assert sorted((tmp_path / "kernels").rglob("*")) == files
    subprocess.run(["chmod", "-R", "u+w", tmp_path / "kernels"], check=True)


def test_an_account_without_a_home_is_none_that_cannot_start(monkeypatch, tmp_path):
    """A container's user has no entry among the accounts."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(lambda _: Path("~no-such-account").expanduser()))
    monkeypatch.setattr(compiled._settings, "CACHE_DIR", None)
    monkeypatch.setattr(compiled, "_SOURCES", ())
    monkeypatch.setattr(compiled, "_PACKAGE", tmp_path)
    assert compiled._cache_folder() == (str(tmp_path / "__pycache__" / f"kernels-{compiled.stamp()}"), True)

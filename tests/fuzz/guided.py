"""``python -m tests.fuzz.guided TARGET SECONDS``: fuzz one target with atheris (github.com/google/atheris), which keeps
inputs that reach code no other has reached. It sees the code that Python runs; compiled kernels are run as they are."""

import sys
import tempfile
from pathlib import Path

import atheris

from tests.conftest import REPOSITORY

PACKAGE = REPOSITORY / "detector"


def compiled() -> list[str]:
    """Modules with kernels: numba cannot compile what atheris has changed."""
    paths = (path for path in PACKAGE.rglob("*.py") if "detector.state.compiled" in path.read_text("utf-8"))
    found = [".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in paths]
    return [*found, "detector.state.compiled"]


def main(name: str, seconds: str) -> None:
    """Ends the process, with another exit code than 0 when an input was found; that is put into the corpus."""
    with atheris.instrument_imports(include=["detector"], exclude=compiled()):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    target.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(target.seeds()):
            (Path(corpus) / str(number)).write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            f"-artifact_prefix={target.folder}/",
            "-verbosity=0",
            "-print_final_stats=1",
        ]
        atheris.Setup([sys.argv[0], *options, corpus], target.check)
        atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])

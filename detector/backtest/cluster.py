"""Ray decodes the parts: on this machine, or on the nodes of a cluster.

Through Ray go what to decode and the description of what came of it, a few kilobytes a part. Rows stay in the folder of
the results, which all nodes see; so Ray's object store does not fill, however many rows there are. What Ray sends
between its nodes it pickles: who may speak to a cluster may run code on it (docs.ray.io, Security).
"""

import logging
import os
import platform
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import detector
from detector.backtest.parts import Part, changed
from detector.backtest.pieces import Job, Piece, Tick, decode, path_of, piece_of
from detector.errors import ConfigError, DetectorError, MissingLibrary, WorkerFailed
from detector.sources.files import size_of
from detector.sources.objects import Object
from detector.state.stores import write_whole

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as problem:
    raise MissingLibrary("--engine ray needs Ray: pip install 'eastwest[ray]'") from problem

_STORE_BYTES: Final = 80 << 20  # of a Ray of our own; it takes no less than 75 MiB, and holds next to nothing
_SECONDS: Final = 10.0  # in which a cluster's head must answer
_RETRIES: Final = 3  # of a part whose process or node died
_AGAIN: Final = "run the same command again to go on"
_LIBRARIES: Final = ("numpy", "polars", "pyarrow", "zstandard")  # what a piece is made with
Seen = list[tuple[int, int]]
"""Of each file of a part its size and time of change."""


@contextmanager
def nodes(count: int, address: str | None) -> Iterator[Callable[[Part, Job, Tick], Callable[[], Piece]]]:
    """What begins a part on a Ray of our own with so many processes, or on the cluster at an address; see
    `workers.Start`. A Ray of our own ends with this, and with this process.

    Raises:
        ConfigError: the cluster cannot be used.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray").setLevel(logging.ERROR)
    folder = Path(tempfile.mkdtemp(prefix="eastwest-ray-"))
    try:
        _connect(count, address, folder)
        task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_decode)

        def start(part: Part, job: Job, tick: Tick) -> Callable[[], Piece]:
            told = task.remote(part, job, Path.cwd(), _seen(part), made_with())
            return partial(_waited, told, part, job)

        yield start
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _connect(count: int, address: str | None, folder: Path) -> None:
    wish: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
    if address is None:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # or Ray keeps one in the home folder
        wish |= {"address": "local", "num_cpus": count, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
        wish |= {"_node_ip_address": "127.0.0.1", "_temp_dir": str(folder)}
    else:
        _require_listener(address)
    try:
        ray.init(**wish)
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    except (RayError, OSError, RuntimeError, ValueError, AssertionError) as problem:
        where = "can be started here" if address is None else f"at {address[:200]} can be used"
        raise ConfigError("--engine ray", "", f"no Ray {where}: {_line(problem)}") from None
    if resources.get("CPU", 0) < 1:
        raise ConfigError("--engine ray", "", "the cluster has no CPU to give")


def _require_listener(address: str) -> None:
    """Somebody listens there: Ray would try for minutes.

    Raises:
        ConfigError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or "/" in host:
        raise ConfigError("--ray-address", "", f"{address[:200]} is no HOST:PORT; run this on a node of the cluster")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS).close()
    except (OSError, OverflowError) as problem:
        raise ConfigError("--ray-address", "", f"nobody answers at {address[:200]}: {problem}") from None


def made_with() -> dict[str, str]:
    """Versions that must be the same everywhere, or pieces could differ."""
    return {
        "eastwest": detector.__version__,
        "Python": platform.python_version(),
        **{library: version(library) for library in _LIBRARIES},
    }


def _seen(part: Part) -> Seen:
    return [(size_of(file), changed(file)) for file in part.files]


# --- on a node ---


def _decode(part: Part, job: Job, working: Path, seen: Seen, wanted: dict[str, str]) -> bytes:
    """Decode a part; the description of its piece.

    It is decoded in a folder of this process: one that Ray gave up and that goes on all the same spoils nothing.

    Raises:
        WorkerFailed: this node is not as the one that asks, or does not see what it sees.
    """
    require_same(part, job, working, seen, wanted)
    own = job.folder / f"{socket.gethostname()}-{os.getpid()}"
    shutil.rmtree(own, ignore_errors=True)
    own.mkdir()
    decode(part, replace(job, folder=own))
    told = path_of(own, part, "json").read_bytes()
    for file in own.iterdir():
        if file.suffix != ".json":
            file.replace(job.folder / file.name)
    write_whole(path_of(job.folder, part, "json"), told)
    shutil.rmtree(own)
    return told


def require_same(part: Part, job: Job, working: Path, seen: Seen, wanted: dict[str, str]) -> None:
    """Go to the folder that names of files are relative to, and see that all is there.

    Raises:
        WorkerFailed: says what is not as it is where the backtest runs.
    """
    here = f"node {socket.gethostname()}"
    if other := [f"{name} {found}, not {wanted[name]}" for name, found in made_with().items() if found != wanted[name]]:
        raise WorkerFailed(f"{here} has {', '.join(other)}; install the same everywhere")
    try:
        os.chdir(working)
    except OSError as problem:
        raise WorkerFailed(f"{here} has no folder {working}; {_SHARED}") from problem
    if not job.folder.is_dir():
        raise WorkerFailed(f"{here} does not see the folder of the results {job.folder}; {_SHARED}")
    for file, known in zip(part.files, seen, strict=True):
        if not isinstance(file, Object) and (size_of(file), changed(file)) != known:
            raise WorkerFailed(f"{here} does not see {file} as it is here; {_SHARED}")


_SHARED: Final = "logs and results must lie where all nodes see them under the same name, or logs in an object store"


# --- where the backtest runs ---


def _waited(told: Any, part: Part, job: Job) -> Piece:
    """
    Raises:
        DetectorError: what the one who decoded raised.
        WorkerFailed: nobody could, or what they wrote is not here.
    """
    try:
        piece = piece_of(ray.get(told))
    except RayTaskError as problem:
        if isinstance(problem.cause, DetectorError):
            raise problem.cause from None
        raise WorkerFailed(f"a node could not decode: {_line(problem.cause)}; {_AGAIN}") from None
    except RayError as problem:
        raise WorkerFailed(f"Ray gave a part up: {_line(problem)}; {_AGAIN}") from None
    if not path_of(job.folder, part, "rejected").exists():
        raise WorkerFailed(f"what a node wrote into {job.folder} is not there; {_SHARED}")
    return piece


def _line(problem: object) -> str:
    """What Ray says in many lines, cut."""
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}"

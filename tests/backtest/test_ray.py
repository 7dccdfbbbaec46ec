"""Ray decodes: what a node must have and see, and how it ends. That the bytes are the same is in `test_parity`."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from detector.backtest import cluster, workers
from detector.backtest.parts import ALWAYS, plan
from detector.backtest.pieces import Job, decode, load
from detector.backtest.workers import Means
from detector.config import Settings
from detector.errors import ConfigError, MissingLibrary, WorkerFailed
from detector.formats.batch import Context
from tests.scenarios.world import run, simulated, written

BIN = Path(sys.executable).parent


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture
def part(world):
    return plan([world.zeek_dir / "2026-03-02"], Context(), ALWAYS).parts[0]


# --- on a node ---


def on_a_node(part, job, **other):
    """What a node does, when all is as it is here but for something."""
    as_here = {"working": Path.cwd(), "seen": cluster._seen(part), "wanted": cluster.made_with()}
    return cluster._decode(part, job, **(as_here | other))


def test_a_node_leaves_the_piece_that_this_process_would(part, tmp_path):
    here, there = (Job(tmp_path / name, Settings()) for name in ("here", "there"))
    for job in (here, there):
        job.folder.mkdir()
    decode(part, here)
    (there.folder / f"{socket.gethostname()}-{os.getpid()}").mkdir()  # of one that was killed
    told = on_a_node(part, there)
    files = [{path.name: path.read_bytes() for path in job.folder.iterdir()} for job in (here, there)]
    assert files[0] == files[1]
    assert told in files[1].values()
    assert load(there.folder, part).hours.rows > 1000


def test_a_node_that_is_not_as_this_one_or_does_not_see_the_same_says_so(part, tmp_path):
    job = Job(tmp_path / "now", Settings())
    with pytest.raises(WorkerFailed, match=r"does not see the folder of the results .*now; logs and results must lie"):
        on_a_node(part, job)
    job.folder.mkdir()
    with pytest.raises(WorkerFailed, match=r"has polars .*, not 0\.1; install the same everywhere"):
        on_a_node(part, job, wanted=cluster.made_with() | {"polars": "0.1"})
    with pytest.raises(WorkerFailed, match="has no folder /nowhere"):
        on_a_node(part, job, working=Path("/nowhere"))
    size, changed = cluster._seen(part)[0]
    with pytest.raises(WorkerFailed, match=r"does not see .*conn\.log as it is here"):
        on_a_node(part, job, seen=[(size + 1, changed), *cluster._seen(part)[1:]])
    missing = replace(part, files=(tmp_path / "conn.log",))
    with pytest.raises(WorkerFailed, match=r"does not see .*conn\.log as it is here"):
        on_a_node(missing, job, seen=[(5, 5)])
    assert not list(job.folder.iterdir())


def test_without_ray_or_with_an_address_that_is_none_it_says_what_to_do(monkeypatch):
    for address, said in {
        "ray://host:10001": "is no HOST:PORT",
        "auto": "is no HOST:PORT",
        "127.0.0.1:1": "nobody answers at 127.0.0.1:1",
        "127.0.0.1:99999": "nobody answers",
    }.items():
        with pytest.raises(ConfigError, match=said), workers.workers(Means(2, engine="ray", address=address)):
            pass
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "detector.backtest.cluster")
    with pytest.raises(MissingLibrary, match=r"pip install 'eastwest\[ray\]'"):
        workers.workers(Means(engine="ray"))


# --- as a whole ---


def command(world, out: Path, *more: str) -> list[str]:
    asked = ["backtest", str(world.zeek_dir), "--out", str(out), "--engine", "ray", "--workers", "2", *more]
    main = "import signal as s; s.signal(s.SIGINT, s.default_int_handler); from detector.cli import main; main()"
    return [sys.executable, "-c", main, *asked]  # a shell has its background jobs ignore Ctrl-C


def of_ray(folder: Path) -> list[str]:
    """Processes whose command or environment names the folder for temporary files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended
    return found


@pytest.mark.long
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_leaves_no_process_behind_and_it_goes_on(end, world, tmp_path):
    temporary = Path("/tmp") / f"r{os.getpid()}{end}"  # Ray's sockets have names of at most 107 bytes
    temporary.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "HOME": str(home)}
    began = subprocess.Popen(command(world, tmp_path / "out"), env=environment, stderr=subprocess.PIPE)
    pieces = tmp_path / "out" / ".eastwest-backtest" / "now"
    while not list(pieces.glob("*-*")):
        assert began.poll() is None, began.stderr.read()
        time.sleep(0.1)
    assert len(of_ray(temporary)) > 3
    began.send_signal(end)
    began.communicate()
    assert began.returncode != 0
    until = time.monotonic() + 200  # agents of a Ray that was killed look for it now and then
    while of_ray(temporary) and time.monotonic() < until:
        time.sleep(0.2)
    assert of_ray(temporary) == []
    assert list(home.iterdir()) == []
    if end != signal.SIGKILL:
        assert list(temporary.iterdir()) == []
    subprocess.run(["rm", "-r", temporary], check=True)
    temporary.mkdir()
    subprocess.run(command(world, tmp_path / "out"), env=environment, check=True, capture_output=True)
    temporary.rmdir()
    run([world.zeek_dir], tmp_path / "plain")
    assert written(tmp_path / "out") == written(tmp_path / "plain")


@pytest.fixture
def cluster_of_two():
    """Address of a Ray cluster of two nodes on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    quiet = ["--num-cpus=1", "--object-store-memory=80000000", "--disable-usage-stats", "--include-dashboard=false"]
    node = [BIN / "ray", "start", "--node-ip-address=127.0.0.1"]
    subprocess.run([*node, "--head", f"--port={address.partition(':')[2]}", *quiet], check=True, capture_output=True)
    subprocess.run([*node, f"--address={address}", *quiet[:3]], check=True, capture_output=True)
    yield address
    subprocess.run([BIN / "ray", "stop", "--force"], check=True, capture_output=True)


@pytest.mark.long
def test_a_cluster_of_two_nodes_tells_the_same(world, cluster_of_two, tmp_path, monkeypatch):
    monkeypatch.chdir(world.zeek_dir)  # names of logs may be relative
    relative = command(world, tmp_path / "out", "--ray-address", cluster_of_two)
    relative[relative.index(str(world.zeek_dir))] = "."
    done = subprocess.run(relative, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    run([Path()], tmp_path / "plain")
    assert written(tmp_path / "out") == written(tmp_path / "plain")

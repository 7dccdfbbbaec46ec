"""The image, as far as it goes without a container engine: what the Dockerfile says, and its steps run in a folder.

Every RUN but two is run as it stands, with the folders of the image under a temporary one. What is left out: the
download of the locked packages (those of this environment are seen instead), and the demo. Kernels that are compiled
here already are taken. Then nothing there may be written, and the service runs from it.
"""

import fnmatch
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

import detector
from detector.state import compiled
from tests.image.dockerfile import stages
from tests.image.test_package import VERSION

pytestmark = pytest.mark.timeout(900)  # where few kernels are compiled yet

ROOT = Path(__file__).resolve().parents[2]
_, BUILD, FINAL = stages(ROOT / "Dockerfile")
PLACES = ("/opt/eastwest", "/wheels", "/src", "/var/lib/eastwest", "/etc/eastwest", "/tmp/demo")
WAIT_SECONDS = 240  # a busy machine; a start takes seconds


def of(stage, word):
    return [instruction for instruction in stage if instruction.word == word]


def one(stage, word):
    (found,) = of(stage, word)
    return found


# --- what it says ---


def test_it_runs_as_nobody_of_the_host_and_without_a_shell():
    user, group = one(FINAL, "USER").rest.split(":")
    assert (int(user), int(group)) == (65532, 65532)
    assert one(FINAL, "ENTRYPOINT").array() == ["/opt/eastwest/bin/eastwest"]
    assert one(FINAL, "CMD").array()[0] == "run"
    assert one(FINAL, "HEALTHCHECK").array()[0] == "python"
    assert one(FINAL, "STOPSIGNAL").rest == "SIGTERM"
    assert not of(FINAL, "RUN"), "all is made by the stage before"
    assert [copy.rest for copy in of(FINAL, "COPY")] == [
        "--from=build /opt/eastwest /opt/eastwest",
        "--from=build --chown=65532:65532 /var/lib/eastwest /var/lib/eastwest",
    ]


def test_both_stages_have_one_base_and_its_digest_can_be_given():
    assert one(BUILD, "FROM").rest == "${PYTHON_IMAGE} AS build"
    assert one(FINAL, "FROM").rest == "${PYTHON_IMAGE}"
    base = one(stages(ROOT / "Dockerfile")[0], "ARG").rest.removeprefix("PYTHON_IMAGE=")
    assert f'base.name="{base}"' in one(FINAL, "LABEL").rest
    assert re.search(r":\d+\.\d+-slim-\w+$", base)


def test_its_labels_are_those_of_the_project():
    labels = dict(pair.split("=", 1) for pair in shlex.split(one(FINAL, "LABEL").rest))
    assert labels["org.opencontainers.image.version"] == VERSION == detector.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert all(name.startswith("org.opencontainers.image.") for name in labels)


def test_a_step_takes_from_the_network_only_what_the_lock_has_a_hash_of():
    for step in of(BUILD, "RUN"):
        for command in step.rest.split("&&"):
            if " pip " in command:
                hashed = "--require-hashes" in command and "--only-binary=:all:" in command
                assert hashed or "--no-index" in command, command
    assert not re.search(r"\b(curl|wget|apt-get|ADD)\b", (ROOT / "Dockerfile").read_text(encoding="utf-8"))


def test_kernels_are_looked_for_where_they_were_compiled_and_for_the_same_processor():
    built, run = (" ".join(env.rest for env in of(stage, "ENV")) for stage in (BUILD, FINAL))
    numba = re.findall(r"NUMBA_\S+", built)
    assert len(numba) == 3
    assert numba == re.findall(r"NUMBA_\S+", run)
    assert one(BUILD, "ARG") == one(FINAL, "ARG")


def test_the_builder_is_given_what_is_copied_and_no_more():
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    given = {line[1:] for line in lines if line.startswith("!")}
    assert given == {source for copy in of(BUILD, "COPY") for source in copy.rest.split()[:-1]}
    assert all((ROOT / path).exists() for path in given)
    assert fnmatch.fnmatch("detector/state/__pycache__", next(line for line in lines if "__pycache__" in line))


# --- its steps, run ---


class Image:
    """The folders of the image under one of this machine."""

    def __init__(self, root: Path, packages: Path) -> None:
        self.root = root
        self.variables = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(packages),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(self.place("/opt/eastwest/kernels")),
        }

    def place(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def moved(self, text: str) -> str:
        """With its folders where they are here."""
        return re.sub("|".join(PLACES), lambda found: str(self.place(found[0])), text)

    def build(self) -> None:
        """Copy and run as the stage says."""
        home = self.place(one(BUILD, "WORKDIR").rest)
        for instruction in BUILD:
            if instruction.word == "COPY":
                *sources, target = instruction.rest.split()
                for source in sources:
                    _copy(ROOT / source, home / target)
            if instruction.word == "RUN" and not re.search("pip download|eastwest demo", instruction.rest):
                self._seed()
                subprocess.run(
                    ["/bin/sh", "-c", f"umask 002 && {self.moved(instruction.rest)}"],
                    cwd=home, env=self.variables, check=True, capture_output=True, text=True,
                )  # fmt: skip

    def _seed(self) -> None:
        """Have the kernels of this environment, under the names that Numba gives to folders of sources."""
        package = next(self.place("/opt/eastwest").glob("lib/python3*/site-packages/detector"), None)
        target = self.place("/opt/eastwest/kernels") / f"kernels-{compiled.stamp()}"
        if package is None or target.exists():
            return
        for folder in Path(compiled._FOLDER).iterdir():
            name = folder.name.rpartition("_")[0]
            shutil.copytree(folder, target / f"{name}_{hashlib.sha1(str(package / name).encode()).hexdigest()}")  # noqa: S324

    def command(self, *words: str) -> list[str]:
        """A command that may write only where the modes say so: root has no more power than anybody."""
        bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] if os.geteuid() == 0 else []
        return [*bare, *words]

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        home = self.place("/var/lib/eastwest")
        env = self.variables | more
        return subprocess.run(self.command(*words), cwd=home, env=env, check=False, capture_output=True, text=True)


def _copy(source, target):
    target.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def image(tmp_path_factory, require_tool):
    """The image, built; what it may not write is not writable."""
    require_tool("setpriv")
    packages = tmp_path_factory.mktemp("packages")
    (site,) = (Path(path) for path in sys.path if path.endswith("site-packages"))
    for entry in site.iterdir():
        if "eastwest" not in entry.name:
            (packages / entry.name).symlink_to(entry)
    image = Image(tmp_path_factory.mktemp("image"), packages)
    image.build()
    program = image.place("/opt/eastwest")
    loose = [path for path in program.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert not loose, "others may write these"
    subprocess.run(["chmod", "-R", "a-w", program], check=True)
    home = image.place("/var/lib/eastwest")
    if os.geteuid() == 0:
        assert (home.stat().st_uid, oct(home.stat().st_mode)) == (65532, "0o40750")
        os.chown(home, 0, 0)  # whose processes stand for those of that user here
    yield image
    subprocess.run(["chmod", "-R", "u+w", program], check=True)


def test_the_program_runs_from_a_tree_that_it_cannot_write(image):
    program = str(image.place("/opt/eastwest/bin/eastwest"))
    shown = image.run(program, "--version")
    assert (shown.returncode, shown.stdout) == (0, f"eastwest {VERSION}\n")
    tried = image.run("touch", str(image.place("/opt/eastwest/x")))
    assert tried.returncode == 1, "the test would show nothing"


COUNT = """
import gc
from detector.config import Settings
from detector.service.warm import warm
from detector.state import compiled
from numba.core.registry import CPUDispatcher
warm(Settings())
made = [found for found in gc.get_objects() if isinstance(found, CPUDispatcher)]
print(compiled.__file__, sum(sum(found.stats.cache_hits.values()) for found in made),
      sum(sum(found.stats.cache_misses.values()) for found in made))
"""


def test_no_kernel_is_compiled_when_it_starts(image):
    counted = image.run(str(image.place("/opt/eastwest/bin/python")), "-P", "-c", COUNT)
    assert counted.returncode == 0, counted.stderr
    source, hits, misses = counted.stdout.split()
    assert Path(source).is_relative_to(image.place("/opt/eastwest"))
    assert int(hits) > 30
    assert int(misses) == 0


@pytest.mark.kafka
def test_the_service_runs_from_it_is_healthy_and_ends(image, kafka):
    topic, port = kafka.topic(), free_port()
    home, config = image.place("/var/lib/eastwest"), image.place("/etc/eastwest/eastwest.yaml")
    config.parent.mkdir(parents=True)
    config.write_text(
        f"kafka: {{bootstrap: {kafka.bootstrap}, topics: [{topic}]}}\n"
        "state: {url: state}\noutbox: {folder: outbox}\nalerts: {sinks: [{type: file, path: alerts.ndjson}]}\n"
    )
    words = [image.moved(word) for word in one(FINAL, "ENTRYPOINT").array() + one(FINAL, "CMD").array()]
    health = [word.replace("9108", str(port)) for word in one(FINAL, "HEALTHCHECK").array()]
    assert image.run(*health).returncode == 1
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            image.command(*words), cwd=home, stderr=log, env=image.variables | {"EASTWEST_HTTP__PORT": str(port)}
        )
        try:
            wait(lambda: image.run(*health).returncode == 0 or process.poll() is not None)
            wait(lambda: b'"running"' in (home / "log").read_bytes() or process.poll() is not None)
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT_SECONDS) == 0, (home / "log").read_text()
        finally:
            process.kill()
    assert {path.name for path in home.iterdir()} == {"log", "outbox", "state"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def wait(done):
    end = time.monotonic() + WAIT_SECONDS
    while not done():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.3)

"""A real OpenSearch for tests: its jars as Maven finds them, run by plain Java."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.kafka.broker import Unavailable, download, free_ports

HERE = Path(__file__).parent
START_SECONDS = 120  # a quiet machine of two cores needs eight
JAVA = ["java", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The address of a node with an empty data folder, killed when left.

    Raises:
        Unavailable: Java or the jars are missing.
    """
    if not shutil.which("java"):
        raise Unavailable("java is not installed")
    jars = download("opensearch", HERE / "pom.xml")
    (folder / "config").mkdir(parents=True)
    http, transport = free_ports(2)
    bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    command = [*bound, *JAVA, "-cp", f"{jars}/*", str(HERE / "Node.java"), str(folder), str(http), str(transport)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | {"LANG": "C.UTF-8"})
    try:
        _wait(process, f"http://127.0.0.1:{http}", folder / "log")
        yield f"http://127.0.0.1:{http}"
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen, url: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            with urlopen(f"{url}/_cluster/health?wait_for_status=yellow&timeout=30s", timeout=60) as answer:  # noqa: S310
                answer.read()
            return
        except (URLError, OSError):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"OpenSearch did not start:\n{log.read_text(errors='replace')[-3000:]}") from None
            time.sleep(0.1)

"""A real API server of Kubernetes, without nodes: what it takes is what a cluster takes. `make check-cluster` builds
it."""

import json
import os
import subprocess
import time
from pathlib import Path

from tests.kafka.broker import free_ports

PROGRAMS = Path(os.environ.get("EASTWEST_CLUSTER") or Path.home() / ".cache" / "eastwest-tests" / "cluster")
_TOKEN = "tests"
_SECONDS = 120


class Api:
    """etcd and kube-apiserver with folders of their own.

    Args:
        folder: an empty one.
        kubectl: the program.
    """

    def __init__(self, folder: Path, kubectl: str) -> None:
        self._folder, self._kubectl = folder, kubectl
        self._running: list[subprocess.Popen[bytes]] = []
        self.port, *self._etcd = free_ports(3)
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(json.dumps(self._connection()))

    def __enter__(self) -> "Api":
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd)
        self._start("etcd", f"--data-dir={self._folder / 'etcd'}", f"--listen-client-urls={client}",
                    f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}")  # fmt: skip
        key, tokens = self._folder / "key.pem", self._folder / "tokens.csv"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        tokens.write_text(f'{_TOKEN},admin,admin,"system:masters"\n')
        self._start(
            "kube-apiserver",
            f"--etcd-servers={client}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--token-auth-file={tokens}",
            "--authorization-mode=RBAC",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://tests.example",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--disable-admission-plugins=ServiceAccount",  # nobody makes the account `default` of a namespace here
        )
        end = time.monotonic() + _SECONDS
        while self.run("get", "--raw", "/readyz", check=False).stdout != "ok":
            assert time.monotonic() < end, (self._folder / "kube-apiserver.log").read_text()[-3000:]
            time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._running):
            process.terminate()
            process.wait(30)

    def run(self, *arguments: str, text: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """kubectl with arguments, and a text for its standard input."""
        command = [self._kubectl, f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, done.stderr
        return done

    def _start(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.log").open("wb") as log:
            self._running.append(subprocess.Popen([str(PROGRAMS / program), *arguments], stdout=log, stderr=log))

    def _connection(self) -> dict[str, object]:
        cluster = {"server": f"https://127.0.0.1:{self.port}", "insecure-skip-tls-verify": True}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": {"token": _TOKEN}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "current-context": "tests",
        }

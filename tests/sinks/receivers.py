"""Real syslog receivers, which write what they parsed of each message as a line of JSON; and certificates for them."""

import re
import signal
import subprocess
import time
from pathlib import Path

import orjson

from tests.conftest import REPOSITORY, find_tool
from tests.kafka.broker import free_ports

_SECONDS = 60
_RSYSLOG = """
global(workDirectory="{folder}" maxMessageSize="64k" defaultNetstreamDriverCAFile="{certs}/ca.pem"
       defaultNetstreamDriverCertFile="{certs}/server.pem" defaultNetstreamDriverKeyFile="{certs}/server.key")
template(name="parsed" type="list" option.jsonf="on") {{
  property(outname="pri" name="pri" format="jsonf")
  property(outname="timestamp" name="timereported" dateformat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}}
main_queue(queue.timeoutShutdown="20000")
module(load="{module}"{driver})
input(type="{module}" port="{port}" address="127.0.0.1"{ruleset})
ruleset(name="all") {{ action(type="omfile" file="{out}" template="parsed") }}
"""
_SYSLOG_NG = """@version: 3.38
options {{ log-msg-size(65536); stats-freq(0); keep-hostname(yes); frac-digits(6); }};
source s {{ syslog(ip("127.0.0.1") port({port}) transport("{transport}"){tls}); }};
destination d {{ file("{out}" flush-lines(100) template("$(format-json
  pri=\\"$PRI\\" timestamp=\\"$S_ISODATE\\" host=\\"$HOST\\" app=\\"$PROGRAM\\" msgid=\\"$MSGID\\"
  data=\\"$SDATA\\" message=\\"$MESSAGE\\")\\n")); }};
log {{ source(s); destination(d); flags(flow-control); }};
"""


class Receiver:
    """A process that receives; a context. It can be stopped, killed and started again."""

    def __init__(
        self, folder: Path, transport: str, certs: Path | None = None, *, mutual: bool = False, documented: str = ""
    ) -> None:
        self.folder, self.transport, self.certs = folder, transport, certs
        self.mutual, self.documented = mutual, documented
        [self.port] = free_ports(1)
        self.out = folder / "received.ndjson"
        self._read, self._lines = 0, []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def command(self) -> list[str]:
        raise NotImplementedError

    def configure(self, usual: str) -> Path:
        """The file that holds the usual settings, or those of ``documented``, with our places in place of its own."""
        text = usual
        if self.documented:
            page = (REPOSITORY / "docs" / "siem" / self.documented).read_text("utf-8")
            text = re.search(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[1]
            for theirs, ours in (
                ("/etc/eastwest", self.certs),
                ("/srv/eastwest/alerts.log", self.out),
                ("6514", self.port),
            ):
                assert theirs in text
                text = text.replace(theirs, str(ours))
        config = self.folder / "receiver.conf"
        config.write_text(text)
        return config

    def start(self) -> None:
        with (self.folder / "receiver.log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        self.wait(self.listens)

    def stop(self) -> None:
        """As an administrator does."""
        self.process.terminate()
        self.process.wait(_SECONDS)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(_SECONDS)

    def listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "receiver.log").read_text("utf-8")
        kind = "udp" if self.transport == "udp" else "tcp"
        return any(
            re.match(rf"\s*\d+: (0100007F|00000000):{self.port:04X} ", line)
            for line in Path(f"/proc/net/{kind}").read_text("ascii").splitlines()
        )

    def wait(self, until) -> None:
        deadline = time.monotonic() + _SECONDS
        while not until():
            assert time.monotonic() < deadline, (self.folder / "receiver.log").read_text("utf-8")
            time.sleep(0.05)

    def received(self) -> list[dict[str, str]]:
        """Whole lines so far; what was read once is not read again."""
        if self.out.exists():
            with self.out.open("rb") as file:
                file.seek(self._read)
                whole, end, _ = file.read().rpartition(b"\n")
            self._read += len(whole + end)
            self._lines += [orjson.loads(line) for line in whole.splitlines()]
        return self._lines

    def expect(self, count: int) -> list[dict[str, str]]:
        """What was received, when there is so much."""
        self.wait(lambda: len(self.received()) >= count)
        return self.received()


class Rsyslog(Receiver):
    """rsyslogd with its own parsing of octet counting and RFC 5424."""

    def command(self):
        mode = {"udp": "", "tcp": "", "tls": ' StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode='}
        driver = mode[self.transport]
        if driver:
            driver += '"x509/certvalid"' if self.mutual else '"anon"'
        config = self.configure(
            _RSYSLOG.format(
                folder=self.folder, certs=self.certs, out=self.out, port=self.port, driver=driver,
                ruleset=' ruleset="all"', module="imudp" if self.transport == "udp" else "imtcp",
            )
        )  # fmt: skip
        return [find_tool("rsyslogd"), "-n", "-f", str(config), "-i", str(self.folder / "rsyslog.pid")]


class SyslogNg(Receiver):
    """syslog-ng with its own parsing of octet counting and RFC 5424."""

    def command(self):
        tls = ""
        if self.transport == "tls":
            verify = f'required-trusted) ca-file("{self.certs}/ca.pem"' if self.mutual else "optional-untrusted"
            tls = (
                f' tls(key-file("{self.certs}/server.key") cert-file("{self.certs}/server.pem") peer-verify({verify}))'
            )
        config = self.configure(_SYSLOG_NG.format(port=self.port, transport=self.transport, tls=tls, out=self.out))
        files = ["--pidfile", "--control", "--persist-file"]
        places = [f"{option}={self.folder / option.strip('-')}" for option in files]
        return [find_tool("syslog-ng"), "-F", "--no-caps", f"--cfgfile={config}", *places]


RECEIVERS = {"rsyslog": Rsyslog, "syslog-ng": SyslogNg}


def make_certificates(folder: Path) -> Path:
    """An authority, a server called ``receiver.example`` at 127.0.0.1, a client, and somebody whom nobody knows."""

    def openssl(*arguments: str) -> None:
        subprocess.run([find_tool("openssl"), *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=authority")
    openssl("req", "-x509", *key, "-keyout", "other.key", "-out", "other.pem", "-days", "2", "-subj", "/CN=other")
    for name, alternative in (("server", "DNS:receiver.example,IP:127.0.0.1"), ("client", "DNS:eastwest.example")):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{name}.pem", "-days", "2", "-extfile", f"{name}.ext")  # fmt: skip
    return folder

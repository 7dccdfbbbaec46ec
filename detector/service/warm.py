"""Kernels are compiled, or loaded, before the first record comes."""

import json

from detector.config import Settings
from detector.engine import Engine
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block, Decoded

_ROWS = 600  # more than `engine.RELEASE_ROWS`


def warm(settings: Settings) -> None:
    """Send made-up rows down the path of an engine that is then thrown away."""
    engine = Engine(settings.model_copy(update={"max_entries": 1000, "max_seen": 1000}))
    engine.push(warm_decoders())
    engine.finish()


def warm_decoders() -> Decoded:
    """The same of decoders alone; returns the made-up rows."""
    decoder = Decoder("warm", Context("UTC", None))
    return decoder.decode(Block("warm", 0, [_line(number) for number in range(_ROWS)]))


def _line(number: int) -> bytes:
    """A connection, a log-on or an act, of few hosts, a second apart."""
    ends = {"id.orig_h": f"10.0.{number % 3}.1", "id.orig_p": 50_000, "id.resp_h": f"10.1.0.{number % 5}"}
    common = {"ts": 1.7e9 + number, "uid": f"C{number}", **ends}
    kinds = (
        {"_path": "conn", "id.resp_p": 445, "proto": "tcp", "service": "smb", "duration": 0.1, "orig_bytes": 100,
         "resp_bytes": 200, "conn_state": "SF", "orig_pkts": 3, "resp_pkts": 3},
        {"_path": "ntlm", "id.resp_p": 445, "username": "u", "success": True},
        {"_path": "dce_rpc", "id.resp_p": 135, "endpoint": "svcctl", "operation": "CreateServiceW"},
        {"_path": "modbus", "id.resp_p": 502, "func": "WRITE_SINGLE_COIL"},
    )  # fmt: skip
    return json.dumps({**common, **kinds[number % len(kinds)]}).encode()

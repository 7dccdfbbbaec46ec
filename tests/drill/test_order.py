"""The same files give the same drill, in whatever order they are named."""

import json
from collections import Counter

from detector.config import Settings
from detector.drill.network import _usual
from detector.drill.run import Wish, drill

from .test_drill import digests


def test_files_named_in_another_order_give_the_same_drill(tmp_path):
    files = []
    for number, port in enumerate((445, 3389)):
        file = tmp_path / f"part{number}" / "conn.log"
        file.parent.mkdir()
        lines = [
            json.dumps({
                "ts": 1_700_000_000 + i * 40, "uid": f"C{port}{i}", "id.orig_h": f"10.0.0.{1 + i % 5}",
                "id.orig_p": 50_000, "id.resp_h": "10.0.0.9", "id.resp_p": port, "proto": "tcp", "conn_state": "SF",
                "duration": 1.5, "orig_bytes": 900, "resp_bytes": 800 + i, "orig_pkts": 9, "resp_pkts": 8 + number,
            })
            for i in range(90)
        ]  # fmt: skip
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        files.append(file)
    outs = [tmp_path / "forwards", tmp_path / "backwards"]
    drill(files, outs[0], Settings(), Wish(campaigns=3))
    drill(files[::-1], outs[1], Settings(), Wish(campaigns=3))
    for name in ("drill.json", "drill.csv", "report.html", "labels.csv"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name
    assert digests(outs[0] / "logs") == digests(outs[1] / "logs")


def test_of_sensors_seen_as_often_the_order_decides_nothing():
    assert _usual(Counter(["b", "a"]), "") == _usual(Counter(["a", "b"]), "") == "a"
    assert _usual(Counter([1, 100, 100]), 1) == 100
    assert _usual(Counter[str](), "") == ""

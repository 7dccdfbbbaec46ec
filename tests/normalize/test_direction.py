"""Both halves of a conversation, or one of them, name the same originator and responder."""

import numpy as np
import polars as pl
import pytest

from detector.normalize import direction as module
from detector.normalize.direction import Direction
from detector.rows import Rows
from tests.normalize.flows import RST_ACK, SYN, SYN_ACK, WHOLE, conn, ends, half, oriented

CLIENT, HIGH_CLIENT, SERVER, HIGH_SERVER = "10.0.0.9:50000", "10.0.0.9:1625", "10.0.0.2:445", "10.0.0.2:4444"


def pair(orig, resp, *, lead=0.0, flags=(None, None), **more):
    """Both halves; the reply begins ``lead`` seconds later."""
    back = half(resp, orig, ts=lead, length=0.1 - lead, orig_flags=flags[1], orig_pkts=2, **more)
    return [half(orig, resp, orig_flags=flags[0], orig_pkts=3, **more), back]


SURE = [
    ("TCP with flags", pair(CLIENT, SERVER, flags=(WHOLE, WHOLE))),
    ("begun first, seen from the SYN", pair(HIGH_CLIENT, HIGH_SERVER, lead=0.002, flags=(WHOLE, WHOLE))),
    ("begun first against the ports", pair("10.0.0.9:445", "10.0.0.2:50000", lead=0.002, flags=(WHOLE, WHOLE))),
    ("SYN only", [half(CLIENT, SERVER, orig_flags=SYN)]),
    ("SYN only, high ports", [half(HIGH_CLIENT, HIGH_SERVER, orig_flags=SYN)]),
    ("SYN only, from a service port", [half("10.0.0.9:445", "10.0.0.2:50000", orig_flags=SYN)]),
    ("REJ, high ports", pair(HIGH_CLIENT, HIGH_SERVER, flags=(SYN, RST_ACK))),
    ("REJ from a service port", pair("10.0.0.9:445", "10.0.0.2:50000", flags=(SYN, RST_ACK))),
    ("answer of a closed port", [half(SERVER, CLIENT, orig_flags=RST_ACK)]),
    ("a lone SYN-ACK", [half(HIGH_SERVER, HIGH_CLIENT, orig_flags=SYN_ACK, orig_pkts=1)]),
    ("UDP request and reply", pair(CLIENT, "10.0.0.2:53", proto="udp", lead=0.004)),
    ("a reply that seems to begin first", pair(CLIENT, "10.0.0.2:53", proto="udp", lead=-0.004)),
    ("one half, forth", [half(CLIENT, SERVER, orig_flags=WHOLE)]),
    ("one half, back", [half(SERVER, CLIENT, orig_flags=WHOLE)]),
    ("one half of UDP, back", [half("10.0.0.2:53", CLIENT, proto="udp")]),
    ("a client port that is some service's", pair("10.0.0.9:50000", "10.0.0.2:502", flags=(WHOLE, WHOLE))),
    ("an old client's port that is some service's", pair("10.0.0.9:3389", "10.0.0.2:502", flags=(WHOLE, WHOLE))),
    ("a reserved client port", pair("10.0.0.9:900", "10.0.0.2:2049", flags=(WHOLE, WHOLE))),
    ("a service among the client ports", pair("10.0.0.9:55000", "10.0.0.2:44818", flags=(WHOLE, WHOLE))),
    ("broadcast, equal ports", [half("10.0.0.9:138", "10.0.0.255:138", proto="udp")]),
    ("from the service port to a group", [half("10.0.0.9:547", "ff02::1:2:546", proto="udp")]),
    ("multicast to a high port", [half("10.0.0.9:161", "239.1.2.3:50000", proto="udp")]),
    ("from a group: a direction without packets", [half("239.1.2.3:161", "10.0.0.9:50000", proto="udp")]),
    ("from a group, equal ports", [half("10.0.0.255:138", "10.0.0.9:138", proto="udp")]),
    ("a TCP peer is no group", [half("203.0.113.255:443", "10.0.0.9:50000", orig_flags=SYN_ACK, orig_pkts=1)]),
    ("whole conversations stay", [conn("10.0.0.9:445", "10.0.0.2:50000", conn_state="S0")]),
]


@pytest.mark.parametrize(("what", "rows"), SURE, ids=[what for what, _ in SURE])
def test_what_is_sure(what, rows):
    """Whatever order the records come in, and whatever the addresses sort like."""
    for swapped in (rows, rows[::-1]):
        out = oriented(*swapped)
        assert out.select("orig_h", "guessed").rows() == [("10.0.0.9", False)], what


MOVED = {"10.0.0.9": "10.0.0.1", "10.0.0.2": "10.0.0.7"}


@pytest.mark.parametrize(("what", "rows"), SURE, ids=[what for what, _ in SURE])
def test_addresses_decide_nothing(what, rows):
    moved = [row | {side: MOVED.get(row[side], row[side]) for side in ("orig_h", "resp_h")} for row in rows]
    assert oriented(*moved).select("orig_h", "guessed").rows() == [("10.0.0.1", False)], what


@pytest.mark.parametrize(
    ("what", "rows", "expected"),
    [
        ("began first", pair("10.0.0.9:123", "10.0.0.2:123", proto="udp", lead=0.002), "10.0.0.9:123 -> 10.0.0.2:123"),
        ("began first", pair("10.0.0.2:137", "10.0.0.9:137", proto="udp", lead=0.002), "10.0.0.2:137 -> 10.0.0.9:137"),
        ("later part", pair(HIGH_SERVER, HIGH_CLIENT, lead=0.5, flags=(24, 24)), "10.0.0.2:4444 -> 10.0.0.9:1625"),
        ("lower port", pair("10.0.0.9:50000", "10.0.0.2:8400"), "10.0.0.9:50000 -> 10.0.0.2:8400"),
        ("lower port", pair("10.0.0.2:8400", "10.0.0.9:50000"), "10.0.0.9:50000 -> 10.0.0.2:8400"),
        ("on the wire", [half("10.0.0.9:123", "10.0.0.2:123", proto="udp")], "10.0.0.9:123 -> 10.0.0.2:123"),
        ("on the wire", [half("10.0.0.9:40000", "10.0.0.2:50000", proto="udp")], "10.0.0.9:40000 -> 10.0.0.2:50000"),
        ("to a client port", [half("10.0.0.2:8400", "10.0.0.9:50000")], "10.0.0.9:50000 -> 10.0.0.2:8400"),
        ("refusal", [half(HIGH_SERVER, HIGH_CLIENT, orig_flags=RST_ACK)], "10.0.0.9:1625 -> 10.0.0.2:4444"),
        ("ICMP", pair("10.0.0.9:0", "10.0.0.2:0", proto="icmp", lead=0.003), "10.0.0.9:0 -> 10.0.0.2:0"),
    ],
)
def test_what_is_guessed_says_so(what, rows, expected):
    out = oriented(*rows)
    assert (ends(out), out["guessed"].to_list()) == ([expected], [True]), what


def test_both_sides_travel_together():
    row = oriented(*pair(SERVER, CLIENT, lead=0.01, flags=(26, WHOLE), orig_bytes=900)).row(0, named=True)
    assert (row["orig_flags"], row["resp_flags"]) == (26, WHOLE)
    back = oriented(half(SERVER, CLIENT, orig_flags=26, orig_bytes=900)).row(0, named=True)
    names = ("orig_flags", "orig_bytes", "orig_pkts", "resp_flags", "resp_bytes", "resp_pkts")
    assert [back[name] for name in names] == [None, None, None, 26, 900, 3]
    assert back["resp_ts"] == 0


def test_what_serves_is_learned_from_what_is_sure():
    """Refused attempts, other clients and whole conversations show who serves; guesses teach nothing."""
    direction = Direction()
    unclear = pair(HIGH_CLIENT, HIGH_SERVER, flags=(WHOLE, WHOLE))
    assert ends(oriented(*unclear, direction=direction)) == ["10.0.0.2:4444 -> 10.0.0.9:1625"]
    oriented(conn("10.0.0.8:1700", HIGH_SERVER), direction=direction)
    out = oriented(*unclear, direction=direction)
    assert (ends(out), out["guessed"].to_list()) == (["10.0.0.9:1625 -> 10.0.0.2:4444"], [False])
    oriented(conn("10.0.0.8:1700", HIGH_CLIENT), direction=direction)  # now both serve
    assert oriented(*unclear, direction=direction)["guessed"].to_list() == [True]


def test_rows_of_one_time_teach_each_other():
    """Replays and collectors that stamp their own time give many records one time, in no order of theirs."""
    unclear = pair(HIGH_CLIENT, HIGH_SERVER, flags=(WHOLE, WHOLE))
    refused = pair("10.0.0.9:1630", HIGH_SERVER, flags=(SYN, RST_ACK))
    out = oriented(*unclear, *refused)
    assert set(ends(out)) == {"10.0.0.9:1625 -> 10.0.0.2:4444", "10.0.0.9:1630 -> 10.0.0.2:4444"}
    later = [row | {"ts": 5_000_000, "obs_ts": 5_100_000} for row in refused]
    assert ends(oriented(*unclear, *later))[0] == "10.0.0.2:4444 -> 10.0.0.9:1625"


def test_a_full_memory_keeps_what_it_knows(monkeypatch):
    monkeypatch.setattr(module, "MAX_ENDPOINTS", 2)
    direction = Direction()
    oriented(*[conn("10.0.0.8:1700", f"10.0.0.2:{port}", ts=port) for port in (4444, 4445, 4446)], direction=direction)
    assert direction.endpoints.used[0] == 2
    known, unknown = (oriented(*pair(HIGH_CLIENT, f"10.0.0.2:{port}"), direction=direction) for port in (4444, 4446))
    assert (known["guessed"].item(), unknown["guessed"].item()) == (False, True)


def test_no_rows():
    out = Direction().orient(Rows.of(oriented(conn(CLIENT, SERVER)).drop("guessed").clear())).frame()
    assert (out.height, out.schema["guessed"]) == (0, pl.Boolean())


def test_the_kernel_is_the_python_it_was_written_in():
    rng = np.random.default_rng(5)
    size = 400
    first, second = rng.integers(1, 40, (2, size)).astype(np.uint64)
    verdict, fallback = rng.integers(0, 3, size).astype(np.int8), rng.integers(0, 2, size).astype(np.int8)
    obs = np.sort(rng.integers(0, 100, size))
    results = []
    for settle in (module._settle, module._settle.py_func):
        settled, guessed = verdict.copy(), np.zeros(size, np.bool_)
        keys, used = np.zeros(256, np.uint64), np.zeros(1, np.int64)
        settle(settled, fallback, obs, first, second, keys, used, 25, guessed)
        results.append((settled.tolist(), guessed.tolist(), keys.tolist(), used.tolist()))
    assert results[0] == results[1]
    assert results[0][3] == [25]
    assert module._OPEN not in results[0][0]

"""Connections and attempts are told alike whatever sensor saw them."""

import numpy as np
import polars as pl
import pytest

from detector.assets.plant import Plant
from detector.features import known as known_hosts
from detector.features import units as module
from detector.features.acts import ATTEMPT_KIND, CLASSES, FLOW_KIND, OPERATION_KIND
from detector.features.units import COMMON, ESTABLISHED_STATES, PLACES, Enrich
from detector.formats.zeek import CONN_STATES
from detector.records import OPERATION
from detector.rows import Rows
from detector.state.keys import text_keys
from tests.normalize.flows import RST_ACK, SYN, SYN_ACK, WHOLE, conn, half, oriented

CLIENT, SERVER = "10.0.0.9:50000", "10.0.0.2:445"
RST, ACK, PSH_ACK = 0x04, 0x10, 0x18


def flow_units(flows):
    return module.flow_units(Rows.of(flows)).frame()


def operation_units(operations):
    return module.operation_units(Rows.of(operations)).frame()


def enriched(units, enrich=None):
    return (enrich or Enrich(PLANT))(Rows.of(units)).frame()


def kind(*rows):
    return flow_units(oriented(*rows))["kind"].to_list()


def halves(flags, proto="tcp"):
    """Records of one conversation: flags of the originator and of the responder; None = nothing was exported."""
    forth, back = flags
    rows = [] if forth is None else [half(CLIENT, SERVER, orig_flags=forth, proto=proto)]
    return rows + ([] if back is None else [half(SERVER, CLIENT, orig_flags=back, proto=proto)])


@pytest.mark.parametrize("state", sorted(CONN_STATES - {"OTH"}))
def test_zeek_states_of_tcp(state):
    expected = FLOW_KIND if state in ("SF", "S1", "S2", "S3", "RSTO", "RSTR") else ATTEMPT_KIND
    assert kind(conn(CLIENT, SERVER, conn_state=state)) == [expected]
    assert (state in ESTABLISHED_STATES) == (expected == FLOW_KIND)


@pytest.mark.parametrize(
    ("state", "proto", "reply", "established"),
    [
        ("SF", "udp", 1, True),
        ("S0", "udp", 0, False),
        ("SHR", "udp", 1, True),  # only the reply was seen
        ("OTH", "icmp", 3, True),
        ("OTH", "icmp", 0, False),
        ("OTH", "tcp", 3, True),  # begun before the capture
        ("OTH", "tcp", 0, False),
        (None, "tcp", 3, True),
        (None, "tcp", 0, False),
    ],
)
def test_zeek_states_that_packets_decide(state, proto, reply, established):
    row = conn(CLIENT, SERVER, conn_state=state, proto=proto, resp_pkts=reply, resp_bytes=0)
    assert kind(row) == [FLOW_KIND if established else ATTEMPT_KIND]


@pytest.mark.parametrize(
    ("state", "flags", "established"),
    [
        ("SF", (WHOLE, WHOLE), True),
        ("S1", (PSH_ACK | SYN, PSH_ACK | SYN), True),
        ("S1 without the ACK", (SYN, SYN_ACK), True),
        ("RSTO", (WHOLE | RST, WHOLE), True),
        ("RSTO of a SYN scan", (SYN | RST, SYN_ACK), True),
        ("RSTR", (WHOLE, SYN_ACK | RST), True),
        ("S0", (SYN, None), False),
        ("RSTOS0", (SYN | RST, None), False),
        ("REJ", (SYN, RST_ACK), False),
        ("REJ, then accepted", (WHOLE, SYN_ACK | RST), True),
        ("RSTRH: an ACK scan", (ACK, RST), False),
        ("OTH: a later part", (PSH_ACK, ACK), True),
        ("OTH: a later part, reset", (PSH_ACK, PSH_ACK | RST), True),
        ("the originator's half", (WHOLE, None), True),
        ("the responder's half", (None, WHOLE), True),
        ("the responder's half of REJ", (None, RST_ACK), False),
        ("the responder's half of RSTR", (None, PSH_ACK | RST), True),
    ],
)
def test_netflow_equivalents(state, flags, established):
    assert kind(*halves(flags)) == [FLOW_KIND if established else ATTEMPT_KIND], state


@pytest.mark.parametrize(
    ("proto", "flags", "established"),
    [
        ("udp", (0, 0), True),
        ("udp", (0, None), False),
        ("udp", (None, 0), True),
        ("tcp", (None, 0), True),
        ("tcp", (0, None), False),
        ("icmp", (0, 0), True),
        ("icmp", (0, None), False),
    ],
)
def test_without_flags_a_reply_is_what_counts(proto, flags, established):
    assert kind(*halves(flags, proto)) == [FLOW_KIND if established else ATTEMPT_KIND]


@pytest.mark.parametrize(
    ("what", "row", "established"),
    [
        ("biflow with reply", half(CLIENT, SERVER, oriented=True, resp_pkts=1, resp_bytes=40), True),
        ("biflow without", half(CLIENT, SERVER, oriented=True, resp_pkts=0, resp_bytes=0), False),
        ("nobody says", half(CLIENT, SERVER, oriented=True), True),
        ("sampled: the reply was missed", half(CLIENT, SERVER, sampling=100, proto="udp"), True),
        ("all packets were seen", half(CLIENT, SERVER, sampling=1, proto="udp"), False),
        ("sampling unknown", half(CLIENT, SERVER, sampling=None, proto="udp"), False),
    ],
)
def test_what_is_known_of_the_reply(what, row, established):
    assert kind(row) == [FLOW_KIND if established else ATTEMPT_KIND], what


def test_units_of_flows_and_operations_are_one_table():
    operation = {**dict.fromkeys(OPERATION), "ts": 1, "obs_ts": 2, "orig_h": "a", "resp_h": "b", "protocol": "smb"}
    operations = pl.DataFrame([{**operation, "operation": "map:C$", "user": "u"}], schema=OPERATION)
    units = operation_units(operations.with_columns(late=pl.lit(False)))
    flows = flow_units(oriented(conn(CLIENT, SERVER)))
    both = pl.concat([flows, units])
    assert both.columns[: len(COMMON)] == list(COMMON)
    assert both["service"].to_list() == ["smb", "smb"]
    assert both.select("kind", "operation", "user").rows()[1] == (OPERATION_KIND, "map:C$", "u")
    assert both["guessed"].to_list() == [False, False]


PLANT = Plant.model_validate(
    {
        "zones": [
            {"name": "office", "purdue_level": 4, "cidrs": ["10.4.0.0/16"]},
            {"name": "site", "purdue_level": 3, "cidrs": ["10.3.0.0/16"]},
            {"name": "cell", "purdue_level": 1, "cidrs": ["10.1.0.0/16"]},
        ],
        "conduits": [{"from": "office", "to": "cell", "services": ["https"]}],
    }
)


@pytest.mark.parametrize(
    ("orig", "resp", "state", "stratum", "crossing", "moves"),
    [
        ("10.4.0.1", "10.4.0.2:443", "SF", ("connection", "inside IT"), False, False),
        ("10.4.0.1", "10.4.0.2:3389", "SF", ("move", "inside IT"), False, True),
        ("10.4.0.1", "10.4.0.2:4444", "SF", ("connection", "inside IT"), False, True),
        ("10.4.0.1", "10.4.0.2:3389", "S0", ("attempt", "inside IT"), False, False),
        ("10.4.0.1", "10.1.0.2:443", "SF", ("connection", "OT"), False, False),  # a conduit permits it
        ("10.4.0.1", "10.1.0.2:80", "SF", ("move", "OT"), True, True),
        ("10.4.0.1", "10.3.0.2:80", "SF", ("connection", "OT"), False, False),  # one level
        ("10.3.0.1", "10.1.0.2:502", "SF", ("move", "OT"), True, True),
        ("10.4.0.1", "8.8.8.8:443", "SF", ("connection", "to outside"), False, False),
        ("8.8.8.8", "10.4.0.1:3389", "SF", ("move", "from outside"), False, True),
        ("8.8.8.8", "10.4.0.1:443", "SF", ("connection", "from outside"), False, False),
        ("10.4.0.1", "10.4.0.255:3389", "SF", ("move", "inside IT"), False, False),  # a group is no place to be
    ],
)
def test_strata_crossings_and_moves(orig, resp, state, stratum, crossing, moves):
    units = enriched(flow_units(oriented(conn(f"{orig}:50000", resp, conn_state=state))))
    row = units.row(0, named=True)
    assert (CLASSES[row["stratum"] // len(PLACES)], PLACES[row["stratum"] % len(PLACES)]) == stratum
    assert (row["crossing"], row["moves"]) == (crossing, moves)


def test_what_is_outside_has_one_zone():
    units = enriched(flow_units(oriented(conn("10.4.0.1:50000", "8.8.8.8:443"))))
    assert units.select("resp_zone", "resp_inside").rows() == [("external", False)]
    assert units["resp_id"][0] == text_keys(pl.Series(["8.8.0.0/16"]))[0]
    assert module.outside_key() == text_keys(units["resp_zone"])[0]


def operations(*rows):
    made = [
        {**dict.fromkeys(OPERATION), "ts": 1, "obs_ts": 2, "orig_h": "10.4.0.1", "resp_h": "10.4.0.2", **row}
        for row in rows
    ]
    frame = pl.DataFrame(made, schema=OPERATION).with_columns(late=pl.lit(False))
    return enriched(operation_units(frame))


def test_what_is_counted_apart_has_a_key_of_its_own():
    """A failed attempt teaches nothing about established connections, nor one operation about another."""
    flows = enriched(
        flow_units(oriented(*(conn("10.4.0.1:50000", "10.4.0.2:445", conn_state=state) for state in ("SF", "S0"))))
    )
    acts = operations({"protocol": "smb", "operation": "read"}, {"protocol": "smb", "operation": "write"})
    assert len({*flows["token_id"], *acts["token_id"]}) == 4
    assert {*flows["service_id"], *acts["service_id"]} == {text_keys(pl.Series(["smb"]))[0]}


def test_accounts_are_compared_in_lower_case_and_none_is_no_account():
    acts = operations(
        *({"protocol": "ntlm", "operation": "ok", "user": user} for user in ("CORP\\Ann", "corp\\ann", "bob", "", None))
    )
    ann, same, bob, empty, nobody = acts["user_id"]
    assert ann == same == text_keys(pl.Series(["corp\\ann"]))[0]
    assert len({ann, bob, empty}) == 3
    assert nobody is None


def test_keys_are_those_of_the_names_they_stand_for():
    units = enriched(flow_units(oriented(conn("10.4.0.1:50000", "8.8.8.8:443"))))
    for side, name in (("orig", "10.4.0.1"), ("resp", "8.8.0.0/16")):
        assert units[f"{side}_id"][0] == text_keys(pl.Series([name]))[0]
        assert units[f"{side}_zone_id"][0] == text_keys(units[f"{side}_zone"])[0]


def test_hosts_that_are_remembered_are_known_as_when_they_were_new(monkeypatch):
    """Whatever was met before, and whether the table of hosts had to begin anew."""
    batches = [
        flow_units(oriented(*(conn(f"10.4.{n % 3}.{n}:50000", f"8.{n}.8.8:443") for n in range(start, start + 5))))
        for start in (1, 3, 1, 20)
    ]
    expected = [enriched(batch) for batch in batches]
    for most in (1, 12, 1000):
        monkeypatch.setattr(known_hosts, "MOST_KNOWN", most)
        enrich = Enrich(PLANT)
        assert [enriched(batch, enrich).equals(known) for batch, known in zip(batches, expected, strict=True)] == [
            True
        ] * 4
        assert int(enrich._hosts._places._table.used[0]) == enrich._hosts._count <= max(most, 10)


def test_an_empty_operation_is_looked_up_apart_from_none():
    """In either order; they are counted under one key."""
    schema = {**OPERATION, "late": pl.Boolean()}
    frame = operation_units(pl.DataFrame({name: [None, None] for name in schema}, schema=schema))
    rows = frame.with_columns(orig_h=pl.lit("10.4.0.1"), resp_h=pl.lit("10.4.0.2"), service=pl.lit("modbus"))
    rows = rows.with_columns(operation=pl.Series([None, ""], dtype=pl.String), kind=pl.lit(OPERATION_KIND))
    there, back = enriched(rows), enriched(rows.reverse())
    assert there["technique"].to_list() == back["technique"].reverse().to_list()
    assert there["technique"].n_unique() == 2
    assert there["token_id"].n_unique() == 1


def test_rows_are_weighed_as_columns_say():
    """The kernel against the same said of whole columns."""
    rng = np.random.default_rng(5)
    size, known = 400, 7
    acts, crossing = rng.integers(0, known, size), rng.random(size) < 0.3

    def truth(count):
        return rng.random(count) < 0.5

    met = rng.integers(0, 5, known), rng.integers(0, 5, known), truth(known), truth(known), rng.random(known)
    levels = np.array([np.nan, 1.0, 3.0, 4.0])
    sides = [(levels[rng.integers(0, 4, size)], truth(size), truth(size)) for _ in range(2)]
    bonus, stratum, moves = np.empty(size), np.empty(size, np.int32), np.empty(size, np.bool_)
    module._weigh(acts, met, sides[0] + sides[1], crossing, bonus, stratum, moves)

    (from_level, from_inside, _), (to_level, to_inside, to_group) = sides
    of_class = np.where(crossing, met[1][acts], met[0][acts])
    ot = (from_level <= 3.0) | (to_level <= 3.0) | met[3][acts]
    place = np.where(from_inside, np.where(to_inside, ot, 3), 2)
    assert stratum.tolist() == (of_class * 4 + place).tolist()
    assert bonus.tolist() == (met[4][acts] + np.where(crossing, module.CROSSING_BONUS, 0.0)).tolist()
    assert moves.tolist() == (((of_class >= 3) | met[2][acts]) & to_inside & ~to_group).tolist()
    assert 0 < moves.sum() < size

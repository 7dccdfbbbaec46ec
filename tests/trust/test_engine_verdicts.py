"""The engine's verdicts: those of the command, the same in any batch and after any restart, within a bound."""

from dataclasses import asdict, replace

import numpy as np
import orjson
import polars as pl
import pytest

from detector.alerts.explain import joined, repeated
from detector.alerts.model import VERDICTS, Verdict, alert_of, as_dict
from detector.assets.plant import Plant
from detector.backtest.run import backtest
from detector.config import Settings
from detector.engine import Engine
from detector.score.trust import ANSWERS, KEYS_SHARE, answered
from detector.trust.run import trust
from tests.inventory.logs import conn, row, write
from tests.renderings.samples import ALERT
from tests.scenarios.world import cut, decoded, in_order, plant_of, simulated
from tests.trust.test_trust import PAGE, PLANT, later, many

ANSWERED = list(Verdict.__dataclass_fields__)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="module")
def rows(world):
    return in_order(decoded([world.zeek_dir, world.netflow_dir]))


@pytest.fixture(scope="module")
def judged(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("judged")
    return backtest([world.zeek_dir, world.netflow_dir], folder / "result", Settings(), plant=plant_of(world))


def test_command_and_engine_say_the_same_of_every_row(world, judged, tmp_path):
    paths = [world.zeek_dir, world.netflow_dir]
    said = trust(paths, tmp_path, Settings(batch_rows=3_000), plant=plant_of(world))
    of_engine = pl.read_parquet(judged.out / "findings.parquet").filter(pl.col("verdict").is_not_null())
    of_command = pl.read_parquet(tmp_path / "connections.parquet").with_columns(
        evidence=pl.format("{}:{}", "source", "position")
    )
    columns = ["evidence", *ANSWERED]
    assert of_engine.select(columns).equals(of_command.select(columns))
    assert set(of_engine["verdict"]) == set(VERDICTS)
    assert set(of_engine["user_known"]) == {None, True, False}
    assert set(of_engine["path_permitted"]) == {True, False}  # all of this plant is in zones
    for of_one, of_other in (("verdicts", "verdicts"), ("failed", "failed"), ("share", "verified_share")):
        assert judged.summary["trust"][of_one] == said.summary[of_other]


def test_the_page_asks_findings_for_verdicts(judged, monkeypatch):
    monkeypatch.chdir(judged.out.parent)
    shown = PAGE.partition("```python\n")[2].partition("```")[0]
    names: dict = {}
    exec(shown, names)  # noqa: S102 - of our own page
    assert 0 < names["strange"].height < names["findings"]["finding"].sum()


def test_an_alert_has_the_verdict_of_what_in_it_is_verified_least(judged):
    findings = pl.read_parquet(judged.out / "findings.parquet").filter("finding")
    of_uid = {uid: part.to_dicts() for (uid,), part in findings.partition_by("uid", as_dict=True).items()}
    compared = 0
    for one in judged.alerts:
        found = [row for uid in one.evidence for row in of_uid.get(uid, [])]
        if one.kind != "violation" and one.count == len(found) == len(one.evidence):
            worst = max(
                (Verdict(**{name: row[name] for name in ANSWERED}) for row in found), key=lambda said: said.weight
            )
            assert one.trust.weight == worst.weight
            compared += 1
    assert compared > 3
    assert {one.trust.verdict for one in judged.alerts} >= {"denied", "unverified"}


def test_what_is_denied_later_in_the_hour_or_when_repeated_is_told():
    calm, denied = (replace(ALERT, trust=Verdict(verdict)) for verdict in ("verified", "denied"))
    for told in (joined(calm, [calm, replace(denied, p_value=0.5)], 2), repeated(calm, denied), repeated(denied, calm)):
        assert told.trust.verdict == "denied"
    assert joined(calm, [calm], 1).trust.verdict == "verified"
    fewer, more = (replace(ALERT, trust=Verdict("unverified", failed)) for failed in ("user", "device+user"))
    assert repeated(fewer, more).trust == repeated(more, fewer).trust == more.trust


@pytest.mark.parametrize("entries", [4_000, 16_000_000])
def test_no_batch_and_no_restart_changes_a_verdict_and_the_table_has_a_bound(rows, world, entries):
    times = rows.flows["obs_ts"].sort().gather_every(997).to_list()[1:]
    settings, parts = Settings(max_entries=entries), cut(rows, times)
    whole, other = (Engine(settings, plant_of(world)) for _ in range(2))
    codes = [whole.push(rows).array("trust"), whole.finish().array("trust")]
    again = []
    for place, part in enumerate(parts):
        again.append(other.push(part).array("trust"))
        if place == len(parts) // 2:
            state, other = other.snapshot(), Engine(settings, plant_of(world))
            other.restore(state)
    again.append(other.finish().array("trust"))
    assert b"".join(map(bytes, again)) == b"".join(map(bytes, codes))
    mine, theirs = other.scorer.trust.arrays(), whole.scorer.trust.arrays()
    assert all(array.tobytes() == theirs[name].tobytes() for name, array in mine.items())
    keys = whole.scorer.trust.keys
    assert (keys.evicted > 0) == (entries == 4_000)
    assert int(keys.used[0]) <= entries // KEYS_SHARE + 5


def test_a_state_from_before_verdicts_begins_to_learn(rows, world):
    engine = Engine(Settings(), plant_of(world))
    engine.push(rows)
    arrays = {name: array for name, array in engine.scorer.arrays().items() if not name.startswith("trust.")}
    engine.scorer.load(arrays)
    assert int(engine.scorer.trust.keys.used[0]) == int(engine.scorer.trust.rows.sum()) == 0


def test_an_alert_from_before_verdicts_can_be_read():
    plain = orjson.loads(orjson.dumps(as_dict(ALERT)))
    assert alert_of(plain) == ALERT
    del plain["trust"]
    assert alert_of(plain).trust == Verdict()


def test_rows_to_a_group_are_not_asked_about(tmp_path):
    calm = [
        conn("10.1.0.1", "10.2.0.1", 445),
        row("10.1.0.1", "10.1.0.255", 137) | conn("10.1.0.1", "10.1.0.255", 137, proto="udp"),
    ]
    folder = write(tmp_path / "logs", conn=calm)
    done = backtest([folder], tmp_path / "out", Settings(), plant=Plant.model_validate(PLANT))
    found = pl.read_parquet(tmp_path / "out" / "findings.parquet")
    assert dict(zip(found["dst"], found["verdict"], strict=True)) == {"10.2.0.1": "learning", "10.1.0.255": None}
    assert sum(done.summary["trust"]["verdicts"].values()) == 1


@pytest.mark.parametrize("code", range(256))
def test_a_verdict_fits_its_answers(code):
    one, asked = ANSWERS[code], code & 1
    answers = (one.device_known, one.user_known, one.service_expected, one.path_permitted)
    assert (one.verdict is None) == (not asked) == (answers == (None,) * 4)
    assert (one.verdict == "denied") == (one.path_permitted is False)
    assert len(one.failed.split("+")) * bool(one.failed) == answers.count(False)
    assert answered(np.array([code], np.uint8)).row(0, named=True) == asdict(one)


def test_violations_are_a_column(tmp_path):
    zones = [zone | {"enforced": zone["name"] == "cell"} for zone in PLANT["zones"]]
    folder = write(tmp_path / "logs", conn=many())
    backtest([folder], tmp_path / "out", Settings(), plant=Plant.model_validate(PLANT | {"zones": zones}))
    found = pl.read_parquet(tmp_path / "out" / "findings.parquet")
    assert not found["violation"].any()
    folder = write(tmp_path / "logs", conn=[*many(), later("10.1.0.1", "10.3.0.1", 502)])
    backtest([folder], tmp_path / "out", Settings(), plant=Plant.model_validate(PLANT | {"zones": zones}))
    found = pl.read_parquet(tmp_path / "out" / "findings.parquet").filter("violation")
    assert found["dst"].to_list() == ["10.3.0.1"]
    assert found["verdict"].to_list() == ["denied"]

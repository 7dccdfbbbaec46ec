"""The measurement through a real broker, tiny: every row is accounted for, and what is told comes from it."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from live import feed, latency, pace, passes, programme, report
from live.latency import Latency, Watch
from live.pace import Pace, Sent
from live.passes import BARE, LOOP, SOURCE, Runner, Turn
from live.programme import SEVERAL, SINGLE, Plan
from live.report import Report
from race.shape import Network, Shape
from rich.console import Console

from tests.kafka.fixtures import kafka, kafka_bootstrap

__all__ = ["kafka", "kafka_bootstrap"]

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TINY = Shape(rows=3_000, lines=3_000, hosts=300, edges=2_000, per_second=200)


def runner(name, said, seconds):
    stages = {"poll": 0.1, "decode": 0.2, "score": 0.3, "outbox": 0.0, "checkpoint": 0.0}
    turns = [Turn(taken, taken / 2, stages) for taken in seconds]
    return Runner(name, said, feed.Stretch("topic", 0, 100, 1_000, 9), turns)


@pytest.mark.kafka
@pytest.mark.long
def test_everything_once(kafka_bootstrap, monkeypatch):
    """The whole of it, with little of everything, at one pace."""
    every = programme.paces
    monkeypatch.setattr(programme, "paces", lambda *given: every(*given)[:1])
    monkeypatch.setattr(programme, "QUIET", 300.0)
    made = programme.run(Plan(TINY, rounds=1, seconds=8.0, apart=False), kafka_bootstrap, Console(quiet=True))
    assert [(one.name, one.said) for one in made.runners] == [
        (who, said) for said in (SINGLE, SEVERAL) for who in (BARE, SOURCE, LOOP)
    ]
    assert {one.stretch.rows for one in made.runners} == {TINY.rows}
    assert [one.stretch.records for one in made.runners] == [TINY.rows] * 3 + [TINY.rows // feed.MANY] * 3
    for one in made.runners:
        assert one.laps.rate > 0
        if one.name == LOOP:
            [turn] = one.turns
            assert turn.checkpoint_bytes > 0
            assert 0 < sum(turn.stages.values()) <= turn.seconds
    live = made.live
    [quiet] = live.latencies
    assert quiet.alerts > 0
    assert quiet.p50 >= quiet.floor
    assert [one.rate for one in every(Plan(TINY), made.runners)] == [
        programme.QUIET, *(made.find(LOOP, said).laps.rate / 2 for said in (SINGLE, SEVERAL))
    ]  # fmt: skip
    assert live.outcomes["rejected"] == live.outcomes["filtered"] == 0
    assert orjson.loads(orjson.dumps(report.document(made)))["live"]["outcomes"] == live.outcomes
    assert len(list(report.tables(made))) == 5


@pytest.mark.kafka
def test_rows_that_do_not_come_are_an_error(kafka, monkeypatch):
    topic = kafka.topic()
    stretch = feed.fill(kafka.bootstrap, topic, [Network(TINY).flows(0, 500)], 1)
    assert (stretch.begin, stretch.records, stretch.rows) == (0, 500, 500)
    more = feed.Stretch(topic, 0, 501, 501, stretch.size)
    looks = (passes.bare, passes.source)
    assert all(look(kafka.bootstrap, stretch).seconds > 0 for look in looks)
    monkeypatch.setattr(passes, "GIVE_UP_SECONDS", 1.0)
    for look in looks:
        with pytest.raises(RuntimeError, match="accounted for"):
            look(kafka.bootstrap, more)


def test_ratios_are_taken_within_rounds_and_unmet_targets_are_flagged():
    runners = [runner(BARE, SINGLE, [1.0, 10.0]), runner(SOURCE, SINGLE, [0.5, 5.0]), runner(LOOP, SINGLE, [2.0, 20.0])]
    made = Report(TINY, {}, runners)
    assert report.times_bare(made, runners[2]) == pytest.approx(2.0)
    assert report.times_bare(made, runners[1]) == pytest.approx(0.5)
    assert [target.met for target in report.targets(made)] == [False, True]


def test_few_alerts_tell_no_percentile():
    sent = Sent(1000, 5, 0.0, 10.0, 0.0)
    live = latency.Live(10, ready_s=3.0)
    live.latencies = [Latency("few", 100.0, sent, 99, 4.5, 4.9, 5.0, 4.0, 1.0)]
    live.latencies.append(Latency("enough", 100.0, sent, 100, 4.5, 5.5, 6.0, 4.0, 1.0))
    few, enough, ready = report.targets(Report(TINY, {}, live=live))
    assert (few.met, few.note) == (None, "99 alerts")
    assert (enough.met, enough.reached) == (False, pytest.approx(1.5))
    assert ready.met


def test_a_paced_line_is_a_row_that_ends_now():
    stamps, wish = pace._Stamps(), Pace("some", 10, 2, 1, 50)
    spans, tails = pace.tails_of(Network(TINY), wish)
    made = [orjson.loads(stamps.flow(span, tail)) for span, tail in zip(spans, tails, strict=True)]
    assert len(made) == wish.rows == 20
    assert len({row["uid"] for row in made}) == 20
    for row in made:
        ended = row["ts"] + row.get("duration", 0.0)
        assert ended == pytest.approx(pace.sent_at(row["uid"]), abs=1e-5)
        assert abs(time.time() - ended) < 60
    assert pace.sent_at("Cclosing") is None


def test_latency_is_of_rows_that_have_others_behind_them():
    sent = Sent(1000, 0, 100.0, 120.0, 0.0)

    def line(made, **more):
        return orjson.dumps({"alert_id": "a", "revision": 0, "evidence": [f"P{round(made * 1e6)}"]} | more)

    seen = [(made + 4.5, line(made)) for made in np.linspace(100.0, 115.0, 31)]
    seen += [(200.0, line(116.0)), (200.0, line(99.0)), (200.0, line(105.0, revision=1))]
    seen += [(200.0, line(105.0, evidence=["P1", "P2"])), (200.0, b'{"incident_id":"i","revision":0}')]
    found = latency._latency(Pace("some", 50, 20, 1, 0), sent, seen, 1.0)
    assert found.alerts == 31
    assert (found.p50, found.p99, found.most) == pytest.approx((4.5, 4.5, 4.5), abs=1e-5)


def test_lines_are_seen_whole_and_once(tmp_path):
    path = tmp_path / "alerts.ndjson"
    with Watch(path) as watch:
        path.write_bytes(b"one\ntw")
        end = time.monotonic() + 10
        while not watch.lines and time.monotonic() < end:
            time.sleep(0.01)
        with path.open("ab") as file:
            file.write(b"o\nthree\n")
        while len(watch.lines) < 3 and time.monotonic() < end:
            time.sleep(0.01)
    assert [line for _, line in watch.lines] == [b"one", b"two", b"three"]


def test_the_program_says_what_it_takes():
    from typer.testing import CliRunner

    spec = importlib.util.spec_from_file_location("stream_program", BENCHMARKS / "stream.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    import typer

    app = typer.Typer()
    app.command()(program.main)
    said = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "150"})
    assert said.exit_code == 0
    for option in ("--out", "--rows", "--rounds", "--seconds"):
        assert option in said.output

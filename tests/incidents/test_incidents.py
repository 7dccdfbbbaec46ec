"""The life of incidents: moves, journal, times, report, command."""

import json
import multiprocessing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from detector import journal
from detector.cli import app
from detector.errors import ConfigError, UnreadableInput
from detector.incidents.book import NAME, Book, Opening, book_of
from detector.incidents.life import moment
from detector.incidents.trend import means, states, trend
from detector.incidents.written import CSV_COLUMNS, write_report

START = datetime(2026, 3, 9, 10, tzinfo=UTC)
PAGE = (Path(__file__).parents[2] / "docs" / "incidents.md").read_text("utf-8")


def after(minutes):
    return START + timedelta(minutes=minutes)


def opening(name="one", begun=-30, title="somebody moves", told=0):
    return Opening(name, after(begun).isoformat(), after(told).isoformat(), "high", title)


@pytest.fixture
def book(tmp_path):
    book = Book(tmp_path)
    book.open([opening()], START)
    return book


def test_the_whole_way_and_its_times(book):
    for minutes, move in ((10, "acknowledge"), (60, "contain"), (240, "recover")):
        book.move("one", move, "anna", now=after(minutes))
    case = book.move("one", "close", "ben", now=after(300), outcome="resolved")
    assert case.state == "closed"
    assert case.seconds() == {"detect": 1800, "acknowledge": 600, "contain": 3600, "recover": 14_400}
    assert [line["by"] for line in case.history] == ["eastwest", "anna", "anna", "anna", "ben"]


def test_who_contains_without_a_word_has_acknowledged(book):
    case = book.move("one", "contain", "anna", now=after(20))
    assert case.seconds()["acknowledge"] == case.seconds()["contain"] == 1200
    assert case.seconds()["recover"] is None


@pytest.mark.parametrize(
    ("before", "move", "words"),
    [
        (["acknowledge"], "acknowledge", "already"),
        (["contain"], "acknowledge", "only moves forwards"),
        ([], "reopen", "cannot be reopened"),
        ([], "panic", "is no move"),
        ([], "close", "wants one of resolved"),
    ],
)
def test_wrong_moves_are_refused_and_leave_no_line(book, before, move, words):
    for minutes, earlier in enumerate(before, 1):
        book.move("one", earlier, "anna", now=after(minutes))
    lines = book.path.read_bytes()
    with pytest.raises(ConfigError, match=words):
        book.move("one", move, "anna", now=after(50), why="because")
    assert book.path.read_bytes() == lines


def test_times_that_cannot_be_are_refused(book):
    book.move("one", "acknowledge", "anna", now=after(30))
    with pytest.raises(ConfigError, match="cannot be contained before"):
        book.move("one", "contain", "anna", now=after(50), when=after(10))
    with pytest.raises(ConfigError, match="has not come yet"):
        book.move("one", "contain", "anna", now=after(50), when=after(60))
    with pytest.raises(ConfigError, match="no incident of this id"):
        book.move("two", "contain", "anna", now=after(50))
    with pytest.raises(ConfigError, match="by is empty"):
        book.move("one", "contain", " ", now=after(50))


def test_reopened_for_a_reason_only(book):
    book.move("one", "contain", "anna", now=after(30))
    with pytest.raises(ConfigError, match="why is empty"):
        book.move("one", "reopen", "anna", now=after(40))
    case = book.move("one", "reopen", "anna", now=after(40), why="he is back")
    assert (case.state, case.reopened, case.seconds()["contain"]) == ("opened", 1, None)
    assert book.move("one", "contain", "anna", now=after(90)).seconds()["contain"] == 5400


def test_a_false_positive_had_no_intruder(book):
    case = book.move("one", "close", "anna", now=after(5), outcome="false_positive")
    assert case.seconds() == {"detect": None, "acknowledge": 300, "contain": None, "recover": None}


def test_what_was_merged_is_moved_no_more_and_counts_for_nothing(book):
    book.open([opening("two")], START)
    book.merge("two", "one", after(1))
    book.merge("two", "one", after(2))
    assert book.case("two").merged_into == "one"
    assert len(journal.entries(book.path)) == 3
    with pytest.raises(ConfigError, match="became part of one"):
        book.move("two", "contain", "anna", now=after(3))
    assert states(book.cases().values())["opened"] == 1
    assert means([book.case("two")])["detect"] is None


def test_opened_once_whatever_is_told_again(book):
    book.open([opening(title="told again"), opening("two")], after(9))
    assert book.case("one").title == "somebody moves"
    assert len(journal.entries(book.path)) == 2


def test_a_changed_line_is_found_and_nothing_is_added(book):
    book.move("one", "acknowledge", "anna", now=after(5))
    changed = book.path.read_bytes().replace(b'"high"', b'"low"')
    book.path.write_bytes(changed)
    with pytest.raises(ConfigError, match="was changed"):
        Book(book.path.parent).cases()
    with pytest.raises(ConfigError, match="was changed"):
        book.move("one", "contain", "anna", now=after(6))
    assert book.path.read_bytes() == changed


def test_a_line_that_was_being_written_when_power_went_is_replaced(book):
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + b'{"number":2,"at":"20')
    assert list(Book(book.path.parent).cases()) == ["one"]
    book.move("one", "acknowledge", "anna", now=after(5))
    assert book.path.read_bytes().startswith(whole)
    assert [entry["number"] for entry in journal.entries(book.path)] == [1, 2]


def _contain(folder, name):
    try:
        Book(folder).move("one", "contain", name, now=after(30))
    except ConfigError:
        return False
    return True


def test_of_several_at_once_one_makes_the_move(book):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        made = pool.starmap(_contain, [(book.path.parent, f"p{i}") for i in range(6)])
    assert sum(made) == 1
    assert len(journal.entries(book.path)) == 2


def test_what_another_process_wrote_is_seen(book):
    assert book.case("one").state == "opened"
    Book(book.path.parent).move("one", "acknowledge", "ben", now=after(4))
    assert book.case("one").state == "acknowledged"


# --- the report ---


@pytest.fixture
def busy(book):
    book.open(
        [opening("two", begun=7 * 1440, told=7 * 1440 + 60, title='=1+1 <script>alert("x")</script>\u202e')], START
    )
    book.move("one", "acknowledge", "anna", now=after(10))
    book.move("one", "contain", "anna", now=after(60))
    book.move("two", "acknowledge", "anna", now=after(8 * 1440))
    return book


def test_the_trend_is_by_week(busy):
    told = trend(list(busy.cases().values()))
    assert [(week["week"], week["opened"]) for week in told["weeks"]] == [("2026-W11", 1), ("2026-W12", 1)]
    assert [week["detect_mean_minutes"] for week in told["weeks"]] == [30, 60]
    assert (told["detect_mean_minutes"], told["contain_count"], told["recover_mean_minutes"]) == (45, 1, None)


def test_the_report_is_the_same_each_time_and_obeys_nobody(busy, tmp_path):
    known = list(busy.cases().values())
    for name in ("a", "b"):
        write_report(known, tmp_path / name)
    for name in ("report.html", "incidents.json", "incidents.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page = (tmp_path / "a" / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "\u202e" not in page
    assert page.count("<svg") == 3
    table = (tmp_path / "a" / "incidents.csv").read_text("utf-8")
    assert "'=1+1" in table
    assert table.splitlines()[0] == ",".join(CSV_COLUMNS)


# --- folders and the command ---


@pytest.fixture
def result(tmp_path):
    incident = {"incident_id": "abc", "first_ts": "2026-03-09T09:00:00.000000Z", "severity": "high",
                "last_ts": "2026-03-09T12:00:00.000000Z", "title": "10.0.0.1 moves"}  # fmt: skip
    alert = {"incident_id": "abc", "status": "open", "ts": "2026-03-09T10:00:00.000000Z"}
    early = {"incident_id": "abc", "status": "suppressed", "ts": "2026-03-09T09:10:00.000000Z"}
    (tmp_path / "incidents.ndjson").write_text(json.dumps(incident) + "\n", "utf-8")
    (tmp_path / "alerts.ndjson").write_text(f"{json.dumps(early)}\n{json.dumps(alert)}\n", "utf-8")
    return tmp_path


def test_a_backtest_opens_with_its_first_open_alert(result):
    assert book_of(result, START).case("abc").seconds()["detect"] == 3600
    (result / "alerts.ndjson").unlink()
    (result / NAME).unlink()
    assert book_of(result, START).case("abc").seconds()["detect"] == 3 * 3600


def test_a_folder_of_nobody_is_refused(tmp_path):
    with pytest.raises(UnreadableInput, match="neither"):
        book_of(tmp_path, START)
    (tmp_path / "alerts").mkdir()
    assert not book_of(tmp_path, START).cases()


def run(*words):
    return CliRunner().invoke(app, ["incidents", *map(str, words)])


def test_the_command_goes_the_whole_way(result, tmp_path):
    assert "opened" in run("list", result).output
    assert "is acknowledged" in run("acknowledge", result, "abc", "--by", "anna", "--at", "2026-03-09T10:30:00").output
    assert "is contained" in run("contain", result, "abc", "--by", "anna", "--why", "cut off").output
    assert isinstance(run("acknowledge", result, "abc", "--by", "anna").exception, ConfigError)
    assert "is recovered" in run("recover", result, "abc", "--by", "anna").output
    assert "is closed" in run("close", result, "abc", "--by", "anna", "--as", "resolved").output
    assert "is opened" in run("reopen", result, "abc", "--by", "anna", "--why", "back").output
    shown = run("show", result, "abc").output
    assert "contained by anna: cut off" in shown
    assert "to acknowledge: 1,800 s" in shown
    report = run("report", result, "--out", tmp_path / "trend")
    assert report.exit_code == 0
    assert (tmp_path / "trend" / "report.html").exists()
    assert not run("list", result, "--state", "closed").output.count("abc")


def test_the_page_names_what_the_journal_holds(busy):
    busy.move("one", "close", "anna", now=after(100), outcome="benign")
    busy.merge("two", "one", after(9 * 1440))
    names = {name for entry in journal.entries(busy.path) for name in entry}
    assert not {name for name in names if f"`{name}`" not in PAGE}
    assert moment(busy.case("one").times["closed"]) == after(100)

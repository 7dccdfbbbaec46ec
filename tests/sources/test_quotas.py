"""A quota takes the same rows out of a flood, whatever the portions, and says how many."""

import orjson
import pytest

from detector.metrics import Metrics
from detector.service.pipeline import Pipeline
from detector.service.settings import ServiceSettings
from detector.sinks.outbox import Outbox
from detector.sources.quotas import BURST_SECONDS
from tests.faults.stream import arrivals, in_partitions, trailing

TIME = 1_772_409_600_000  # ms
RATE = 2
BURST = BURST_SECONDS * RATE


@pytest.fixture
def pipeline(tmp_path):
    """Makes pipelines on the same outboxes, with quotas of topics."""
    with Outbox(tmp_path / "alerts") as alerts, Outbox(tmp_path / "letters") as letters:

        def made(**rates) -> Pipeline:
            topics = [{"name": name, "rows_per_second": rate} for name, rate in rates.items()]
            wish = {"kafka": {"bootstrap": "nowhere:9092", "topics": topics}}
            wish |= {"state": {"url": str(tmp_path / "state")}, "outbox": {"folder": tmp_path / "outbox"}}
            return Pipeline(ServiceSettings.model_validate(wish), None, alerts, letters, Metrics("tests", ""))

        made.letters = letters
        yield made


def rows_at(*times, topic="conn", value=None):
    """Records at these ms after the beginning."""
    return in_partitions((TIME + time, topic, value or trailing(TIME + time)) for time in times)


def taken(pipeline, rows, size=10**9):
    for begin in range(0, len(rows), size):
        pipeline.take(arrivals(rows[begin : begin + size]))
        pipeline.settle()
    account = pipeline.engine.accounting
    assert account.rows == account.scored + account.duplicate + account.waiting + sum(
        counter.total() for counter in (account.filtered, account.rejected)
    )
    return pipeline.over_quota


def test_without_a_quota_nothing_is_left_out(pipeline):
    assert taken(pipeline(conn=None), rows_at(*[0] * 1000)) == 0


def test_a_burst_passes_and_what_comes_behind_it_at_the_rate(pipeline):
    """1000 at once, a minute of silence, as many again, then three times the rate for ten minutes."""
    steady = [120_000 + number * 1000 // (3 * RATE) for number in range(600 * 3 * RATE)]
    service = pipeline(conn=RATE)
    assert taken(service, rows_at(*[0] * 1000)) == 1000 - BURST - 1
    assert taken(service, rows_at(*[61_000] * 1000)) == 2 * (1000 - BURST - 1)
    left_out = taken(service, rows_at(*steady)) - 2 * (1000 - BURST - 1)
    passed = len(steady) - left_out
    assert abs(passed - (RATE * 600 + BURST)) <= 2 * RATE  # a step on either side


@pytest.mark.parametrize("size", [13, 100])
def test_portions_and_restarts_leave_out_the_same(size, pipeline):
    rows = rows_at(*[0] * 300, *range(1000, 60_000, 200))
    other = rows_at(*range(0, 60_000, 500), topic="dns")
    rows = sorted(rows + other, key=lambda row: (row.time // 100, row.partition, row.offset))
    whole = pipeline(conn=RATE, dns=None)
    taken(whole, rows)
    expected = whole.engine.capture().write()
    half = len(rows) // 2
    first, second = pipeline(conn=RATE, dns=None), pipeline(conn=RATE, dns=None)
    taken(first, rows[:half], size)
    second.restore(first.capture({}).capture.write())
    assert taken(second, rows[half:], size) == whole.over_quota > 300
    assert second.engine.capture().write() == expected


def test_a_record_passes_or_is_left_out_as_a_whole_and_has_a_dead_letter_only_if_it_passed(pipeline):
    many = b"\n".join([trailing(TIME), b"{", trailing(TIME + 1)])
    rows = rows_at(*[0] * BURST, topic="dns", value=many)
    service = pipeline(dns=RATE)
    assert taken(service, rows) == 3 * BURST - (BURST + 3)
    pipeline.letters.sync()
    letters = [orjson.loads(record.payload) for record in pipeline.letters.read(0, 1 << 30)]
    assert [letter["offset"] for letter in letters] == list(range(BURST // 3 + 1))
    assert service.outcomes()["rejected"] == len(letters)


def test_acts_are_left_out_as_connections_are(pipeline):
    ends = b'"id.orig_h":"10.9.9.1","id.orig_p":50000,"id.resp_h":"10.9.9.2","id.resp_p":445'
    logons = [
        b'{"_path":"ntlm","ts":%d.5,"uid":"C%d",%b,"username":"u"}' % (TIME // 1000, n, ends) for n in range(1000)
    ]
    service = pipeline(ntlm=RATE)
    assert taken(service, in_partitions((TIME, "ntlm", value) for value in logons)) == 1000 - BURST - 1
    assert service.outcomes()["filtered"] == 1000 - BURST - 1
    assert service.engine.accounting.rejected.total() == 0


def test_the_header_of_a_table_is_learned_even_when_its_rows_are_too_many(pipeline):
    names = ("ts", "uid", "id.orig_h", "id.orig_p", "id.resp_h", "id.resp_p", "proto", "conn_state")
    head = b"#separator \\x09\n#path\tconn\n#fields\t" + "\t".join(names).encode()
    row = b"%d.5\tC%d\t10.0.0.1\t50000\t10.0.0.2\t443\ttcp\tSF"
    values = [*[trailing(TIME)] * (BURST + 50), head, *(row % (TIME // 1000 + 600, number) for number in range(5))]
    rows = in_partitions((TIME + 600_000 * (at > BURST + 50), "table", value) for at, value in enumerate(values))
    service = pipeline(table=RATE)
    assert taken(service, rows) == 49
    assert service.outcomes()["rejected"] == 0
    assert service.engine.accounting.rows == BURST + 50 + 3 + 5  # the lines of the header are counted too

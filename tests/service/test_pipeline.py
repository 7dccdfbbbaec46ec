"""What the service tells is a function of what is in the topics: not of portions, restarts, or what else is there."""

import itertools
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.alerts.decisions import parse_decisions
from detector.alerts.model import iso
from detector.assets.plant import Plant
from detector.config import Settings
from detector.engine import Engine
from detector.errors import StorageFailed
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.formats.goflow2_protobuf import _Flow
from detector.metrics import Metrics
from detector.records import Decoded
from detector.service.decoding import LINES_MAX
from detector.service.pipeline import Pipeline
from detector.service.settings import ServiceSettings
from detector.sinks.outbox import Outbox
from detector.sources.files import BLOCK_LINES
from detector.sources.kafka_merge import Arrival, Damaged, Partition
from tests.faults.stream import ENGINE, Row, arrivals, in_partitions, rows_of, trailing, with_rubbish
from tests.scenarios.world import _tsv, in_order, plant_of, simulated, told

TIME = 1_772_409_600_000  # ms


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    return simulated(tmp_path_factory, days=2, hosts=40, seed=3)


@pytest.fixture(scope="session")
def rows(world) -> list[Row]:
    """Those of the plant; two topics come as Zeek's tables, whose header is a record of its own."""
    rows = rows_of(world)
    for topic in ("http", "smb_files"):
        rows = as_table(rows, topic)
    return with_rubbish(rows)


def as_table(rows: Sequence[Row], topic: str) -> list[Row]:
    """The records of a topic as lines of a table, the header before the first."""
    mine = [orjson.loads(row.value) for row in rows if row.partition.topic == topic]
    header, body = [], []
    for line in _tsv(topic, mine).splitlines():
        (header if line.startswith(b"#") else body).append(line)
    cells, out, offset = iter(body), [], 0
    for row in rows:
        if row.partition.topic != topic:
            out.append(row)
            continue
        for line in [*header[:-1], next(cells)] if offset == 0 else [next(cells)]:  # the last is #close
            out.append(row._replace(value=line, offset=offset))
            offset += 1
    return out


@dataclass
class Service:
    """A pipeline with its outboxes."""

    folder: Path
    rows: Sequence[Row]
    plant: object = None
    decisions: Sequence[object] = ()
    model: object = None

    def __enter__(self):
        topics = sorted({row.partition.topic for row in self.rows})
        wish = {"kafka": {"bootstrap": "nowhere:9092", "topics": topics}, "engine": ENGINE}
        wish |= {"state": {"url": str(self.folder / "state")}, "outbox": {"folder": self.folder / "outbox"}}
        self.settings = ServiceSettings.model_validate(wish)
        self.alerts, self.letters = Outbox(self.folder / "alerts"), Outbox(self.folder / "letters")
        self.pipeline = self.anew()
        return self

    def __exit__(self, *_):
        self.alerts.close()
        self.letters.close()

    def anew(self) -> Pipeline:
        outboxes = self.alerts, self.letters
        return Pipeline(self.settings, self.plant, *outboxes, Metrics("tests", ""), self.decisions, self.model)

    def feed(self, cuts: Iterable[int], begin: int = 0) -> None:
        """Take the rows in portions that end at ``cuts``, ascending."""
        for cut in [*cuts, len(self.rows)]:
            self.pipeline.take(arrivals(self.rows[begin:cut]))
            self.pipeline.settle()
            begin = cut

    def out(self) -> tuple[list, list]:
        """Alerts and dead letters as they are stored."""
        self.alerts.sync()
        self.letters.sync()
        return self.alerts.read(0, 1 << 30), self.letters.read(0, 1 << 30)

    def state(self) -> bytes:
        return self.pipeline.capture({}).capture.write()


@pytest.fixture(scope="session")
def expected(rows, world, tmp_path_factory):
    """Alerts, dead letters, state and outcomes of one run in one portion; some of each, or nothing is compared."""
    with Service(tmp_path_factory.mktemp("expected"), rows, plant_of(world)) as service:
        service.feed([])
        alerts, letters = service.out()
        assert {record.kind for record in alerts} == {"alert", "incident"}
        assert len(alerts) > 50
        assert len(letters) > 5
        return alerts, letters, service.state(), service.pipeline.outcomes()


# --- portions ---


@pytest.mark.parametrize("size", [211, 1009, 4096])
def test_portions_of_any_size_give_the_same(size, rows, world, expected, tmp_path):
    with Service(tmp_path, rows, plant_of(world)) as service:
        service.feed(range(size, len(rows), size))
        assert (*service.out(), service.state(), service.pipeline.outcomes()) == expected


@given(st.data())
@settings(max_examples=2, suppress_health_check=list(HealthCheck))
def test_portions_cut_anywhere_give_the_same(rows, world, expected, tmp_path_factory, data):
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=6, unique=True).map(sorted))
    with Service(tmp_path_factory.mktemp("cut"), rows, plant_of(world)) as service:
        service.feed(cuts)
        assert (*service.out(), service.state(), service.pipeline.outcomes()) == expected


# --- restarts ---


@pytest.mark.parametrize("share", [0.002, 0.3, 0.62, 0.9])
def test_going_on_from_a_captured_state_gives_the_same(share, rows, world, expected, tmp_path):
    """The state is captured, more rows are taken, and then another process goes on from the state: what it tells again
    is what is stored, tables go on without a header, and in the end all is as if nothing had happened."""
    cut = int(len(rows) * share)
    with Service(tmp_path, rows, plant_of(world)) as service:
        service.pipeline.take(arrivals(rows[:cut]))
        taken = service.pipeline.capture({Partition("dns", 0): 7})
        service.feed([], begin=cut)
        service.pipeline = service.anew()
        clocks = service.pipeline.restore(taken.capture.write())
        service.alerts.rewind(taken.alerts)
        assert clocks == {Partition("dns", 0): 7}
        service.feed([cut + 500], begin=cut)
        assert (*service.out(), service.state(), service.pipeline.outcomes()) == expected
        again = service.alerts.counts.repeated, service.letters.counts.repeated
        assert again[0] == len(expected[0]) - taken.alerts
        assert service.alerts.counts.mismatched == service.letters.counts.mismatched == 0


def test_a_restart_changes_no_byte_of_the_next_state(rows, world, tmp_path):
    first, second = int(len(rows) * 0.4), int(len(rows) * 0.5)
    with Service(tmp_path, rows, plant_of(world)) as service:
        other = service.anew()
        service.pipeline.take(arrivals(rows[:first]))
        at_first = service.pipeline.capture({})
        service.pipeline.take(arrivals(rows[first:second]))
        at_second = service.state()
        other.restore(at_first.capture.write())
        service.alerts.rewind(at_first.alerts)
        other.take(arrivals(rows[first:second]))
        assert other.capture({}).capture.write() == at_second


# --- the backtest ---


def decided(rows: Sequence[Row]) -> Sequence[object]:
    """From the middle of the stream on, all of SMB is known; later all acts are."""
    middle, later = (iso(rows[int(len(rows) * share)].time * 1000) for share in (0.5, 0.8))
    known = f"by: anna, why: known, from: {middle}, until: 2040-01-01, scope: {{service: smb}}"
    smb = f"{{id: smb, action: suppress, {known}}}"
    rest = f"{{id: rpc, action: learn, by: ben, why: known, from: {later}, scope: {{operation: '*'}}}}"
    return parse_decisions(f"decisions:\n  - {smb}\n  - {rest}\n", "decisions.yaml")


@pytest.mark.parametrize("made", ["without", "with", "added at a restart"])
def test_what_was_told_last_is_what_a_backtest_finds(made, world, tmp_path):
    rows = rows_of(world)
    decisions = () if made == "without" else decided(rows)
    with Service(tmp_path, rows, plant_of(world), decisions if made == "with" else ()) as service:
        begin = 0
        if made == "added at a restart":
            begin = int(len(rows) * 0.4)
            service.pipeline.take(arrivals(rows[:begin]))
            taken = service.pipeline.capture({})
            service.decisions = decisions
            service.pipeline = service.anew()
            service.pipeline.restore(taken.capture.write())
            assert not service.pipeline.engine.judge.adopted
        service.feed(range(begin + 500, len(rows), 500), begin)
        stands, revisions = last_told(service)
    engine = Engine(Settings(**ENGINE), plant_of(world), decisions=decisions)
    engine.push(in_order(by_partition(rows)))
    engine.finish()
    for kind, lines in zip(("alert", "incident"), told(engine), strict=True):
        final = {line[f"{kind}_id"]: line for line in map(orjson.loads, lines.splitlines())}
        ours = {key: line for (of, key), line in stands.items() if of == kind and "merged_into" not in line}
        assert ours == final
        assert final
    statuses = Counter(found.status for found in engine.judge.final_alerts())
    assert set(statuses) == ({"open"} if made == "without" else {"open", "suppressed", "learned"})
    assert max(revisions.values()) > 2


def grown(world):
    """The plant with all that its file may say: its cells enforced, a conduit gone, suppliers held to more."""
    content = yaml.safe_load(world.plant.read_text(encoding="utf-8"))
    for zone in content["zones"]:
        zone["enforced"] = zone["name"].startswith("cell")
    content["conduits"] = [one for one in content["conduits"] if one["from"] != "site_operations"]
    for vendor in content["vendors"]:
        vendor["hosts"] = [f"{host}/32" for host in vendor["hosts"]]
        vendor["windows"] = [{"dtstart": "2026-03-02T11:00:00", "duration": "PT1H", "rrule": "FREQ=WEEKLY;BYDAY=MO,WE"}]
        vendor |= {"operations": ["read"], "assets": ["cell1_control"], "expires": "2026-03-06"}
    return Plant.model_validate(content)


def test_a_grown_plant_file_gives_the_same_in_portions_after_a_restart_and_in_a_backtest(world, tmp_path):
    rows, plant = rows_of(world), grown(world)
    cut = int(len(rows) * 0.8)
    with Service(tmp_path / "whole", rows, plant) as whole, Service(tmp_path / "parts", rows, plant) as parts:
        whole.feed([])
        parts.pipeline.take(arrivals(rows[:cut]))
        taken = parts.pipeline.capture({})
        parts.pipeline = parts.anew()
        parts.pipeline.restore(taken.capture.write())
        parts.alerts.rewind(taken.alerts)
        parts.feed(range(cut + 301, len(rows), 301), begin=cut)
        assert parts.out() == whole.out()
        assert parts.state() == whole.state()
        stands, _ = last_told(whole)
    engine = Engine(Settings(**ENGINE), plant)
    engine.push(in_order(by_partition(rows)))
    engine.finish()
    final = {line["alert_id"]: line for line in map(orjson.loads, told(engine)[0].splitlines())}
    assert {key: line for (of, key), line in stands.items() if of == "alert"} == final
    kinds = Counter(line["kind"] for line in final.values())
    assert kinds["violation"] > 5
    assert kinds.total() > kinds["violation"]
    assert {line["trust"]["verdict"] for line in final.values() if line["kind"] == "violation"} == {"denied"}
    assert len({line["trust"]["verdict"] for line in final.values()}) > 1


def last_told(service: Service) -> tuple[dict[tuple[str, str], dict], Counter]:
    """What was told last of each alert and incident, and how many revisions there were; none is left out."""
    stands, revisions = {}, Counter()
    for record in service.out()[0]:
        line = orjson.loads(record.payload)
        key = record.kind, line[f"{record.kind}_id"]
        assert line.pop("revision") == revisions[key]
        revisions[key] += 1
        stands[key] = line
    return stands, revisions


def by_partition(rows: Sequence[Row]) -> Iterator[Decoded]:
    """One partition after the other, as files would be read."""
    for arrival in arrivals(sorted(rows, key=lambda row: (row.partition, row.offset))):
        source = "{}:{}".format(*arrival.partition)
        decoder = Decoder(source, Context("UTC", None), arrival.partition.topic)
        yield from map(decoder.decode, arrival.records.blocks(source))


# --- accounting ---


def test_every_record_ends_in_one_bucket(tmp_path):
    good = [trailing(TIME + 1000 * number) for number in range(4)]
    values = [
        b"",
        good[0],
        None,
        b"{",
        b"\n".join(good[1:3]),  # one record of two lines, as some shippers batch
        b"not a log",
        None,
        orjson.dumps(orjson.loads(good[3]), option=orjson.OPT_INDENT_2),  # one object over several lines
        good[0],  # again
        b'{"ts":1}',
        trailing(TIME + 600_000),
        trailing(TIME + 660_000),
    ]
    rows = in_partitions((TIME + 60_000 * number, "dns_and_more", value) for number, value in enumerate(values))
    with Service(tmp_path, rows) as service:
        service.feed([3, 5])
        letters = [orjson.loads(record.payload) for record in service.out()[1]]
        account = service.pipeline.engine.accounting
        assert account.rows == len(values) + 1
        assert service.pipeline.outcomes() == {"scored": 5, "rejected": 3, "duplicate": 1, "late": 0, "filtered": 3}
        assert account.waiting == 1  # the last one
        assert account.filtered == {("kafka", "tombstone"): 2, ("kafka", "header or blank"): 1}
        assert [(letter["topic"], letter["offset"]) for letter in letters] == [
            ("dns_and_more", offset) for offset in (3, 5, 9)
        ]


@pytest.mark.parametrize("framed", [False, True])
def test_a_binary_record_is_one_whatever_bytes_it_has(framed, tmp_path):
    """Each address of 10.0.0.0/8 begins with the byte of a line feed."""
    start = TIME * 1_000_000
    wire = _Flow(
        type=3, proto=6, src_port=50_000, dst_port=445, bytes=1000, packets=5, time_received_ns=start,
        time_flow_start_ns=start, time_flow_end_ns=start, src_addr=b"\x0a\x01\x00\x0a", dst_addr=b"\x0a\x14\x01\x0f",
    ).SerializeToString()  # fmt: skip
    value = bytes([len(wire)]) + wire if framed else wire
    with Service(tmp_path, in_partitions([(TIME, "flows", value)])) as service:
        service.feed([])
        assert service.out() == ([], [])
        assert service.pipeline.engine.accounting.rows == service.pipeline.engine.accounting.waiting == 1


BROKEN = 3, 17, 18, 40  # numbers of records that cannot be used; what cannot even be read stands before the third


@pytest.mark.parametrize("size", [1, 2, 7, 18, 19, 50])
def test_what_cannot_be_taken_apart_has_its_place_among_dead_letters(size, tmp_path):
    rows = in_partitions(
        (TIME + 1000 * number, "conn", b"{" if number in BROKEN else trailing(TIME + 1000 * number))
        for number in range(50)
    )
    rows = [row._replace(offset=row.offset + 20 * (row.partition.partition == 0 and row.offset >= 9)) for row in rows]
    with Service(tmp_path, rows) as service:
        for begin in range(0, len(rows), size):
            arrived = [
                replace(arrival, damaged=Damaged(9, 29, "checksum", 2)) if 29 in arrival.records.offsets else arrival
                for arrival in arrivals_one_by_one(rows[begin : begin + size])
            ]
            service.pipeline.take(arrived)
            service.pipeline.settle()
        letters = [orjson.loads(record.payload) for record in service.out()[1]]
        assert service.pipeline.outcomes()["rejected"] == len(letters) == 5
        assert [letter["offset"] for letter in letters] == [1, 8, 9, 29, 40]
        assert letters[2]["reason"] == "record batches cannot be read"
        assert letters[2]["detail"] == "offsets 9 to 28 in 2 batches, the first: checksum"
        assert {letter["raw"] for letter in letters if letter["offset"] != 9} == {"ew=="}


def arrivals_one_by_one(rows: Sequence[Row]) -> list[Arrival]:
    return [arrival for row in rows for arrival in arrivals([row])]


@pytest.mark.parametrize("others", [1, BLOCK_LINES - 3])
def test_of_a_record_of_several_lines_one_dead_letter_tells_all(others, tmp_path):
    """Also where its lines are decoded in two blocks."""
    lines = [trailing(TIME), b"{", b"not a log", trailing(TIME + 1000), b"{"]
    values = [*[b"{}"] * others, b"\n".join(lines), b"{"]
    with Service(tmp_path, in_partitions((TIME, "dns", value) for value in values)) as service:
        service.feed([])
        *_, letter, last = [orjson.loads(record.payload) for record in service.out()[1]]
        account = service.pipeline.engine.accounting
        assert account.rejected.total() == others + 4
        assert account.rows == account.waiting + others + 4
        assert (letter["offset"], letter["reason"], letter["lines"]) == (others, "not JSON", 3)
        assert b64decode(letter["raw"]) == b"\n".join(lines)
        assert (last["offset"], last["lines"]) == (others + 1, 1)


def test_a_record_of_too_many_lines_is_one_reject(tmp_path):
    line = b"x\n"
    values = [b"{", line * LINES_MAX, line * (LINES_MAX + 1), b"x"]
    with Service(tmp_path, in_partitions((TIME, "dns", value) for value in values)) as service:
        service.feed([])
        letters = [orjson.loads(record.payload) for record in service.out()[1]]
        assert [(letter["offset"], letter["lines"]) for letter in letters] == [(0, 1), (1, LINES_MAX), (2, 1), (3, 1)]
        assert letters[2]["reason"] == "the record has more than 10000 lines"
        assert letters[2]["size"] == 2 * (LINES_MAX + 1)
        assert service.pipeline.outcomes()["rejected"] == LINES_MAX + 3
        assert len(service.pipeline.engine.accounting.rejected) == 3


def test_one_object_over_very_many_lines_is_one_record(tmp_path):
    value = b"{" + b"\n" * (2 * LINES_MAX) + trailing(TIME)[1:]
    with Service(tmp_path, in_partitions([(TIME, "conn", value)])) as service:
        service.feed([])
        assert service.pipeline.engine.accounting.waiting == 1


def test_a_full_disk_loses_and_repeats_nothing(rows, world, expected, tmp_path, monkeypatch):
    """`settle` goes on where it stopped."""
    with Service(tmp_path, rows, plant_of(world)) as service:
        append, calls = service.alerts.append, itertools.count()

        def now_and_then(kind, payload):
            if next(calls) % 3 == 0:
                raise StorageFailed("full")
            return append(kind, payload)

        monkeypatch.setattr(service.alerts, "append", now_and_then)
        service.pipeline.take(arrivals(rows))
        for _ in range(1000):
            with suppress(StorageFailed):
                service.pipeline.settle()
                break
        assert (*service.out(), service.state(), service.pipeline.outcomes()) == expected

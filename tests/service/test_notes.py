"""What a decoder keeps goes with an offset, however large it is; damage and other people's notes are told apart."""

import pytest

from detector.errors import StateMismatch
from detector.formats.batch import Context
from detector.formats.decode import Decoder
from detector.records import Block
from detector.service.notes import NOTE_CHARACTERS, Notes
from detector.service.settings import ServiceSettings


@pytest.fixture
def notes(tmp_path):
    wish = {"kafka": {"bootstrap": "nowhere:9092", "topics": ["a"]}, "outbox": {"folder": tmp_path / "outbox"}}
    return Notes(ServiceSettings.model_validate(wish | {"state": {"url": str(tmp_path / "state")}}))


def state(columns: int) -> dict:
    """Of a decoder that has seen the header of a wide table."""
    names = [f"column_{number * 7919 % 10007}_{number}" for number in range(columns)]
    lines = [b"#separator \\x09", b"#path\tconn", "\t".join(["#fields", *names]).encode()]
    decoder = Decoder("a:0", Context("UTC", None))
    decoder.decode(Block("a:0", 0, lines))
    return decoder.state()


@pytest.mark.parametrize("columns", [1, 150, 2000])
def test_what_is_noted_is_read(notes, columns, tmp_path):
    known = state(columns)
    note = notes.written(known, "id")
    assert len(note) <= NOTE_CHARACTERS
    assert notes.read(note, "id") == known
    assert (tmp_path / "state").exists() == (columns == 2000)  # a header of 2 kB needs no store
    assert notes.written(known, "id") == note


def test_a_note_of_another_topic_or_another_program_is_none_of_ours(notes):
    note = notes.written(state(3), "id")
    assert notes.read(note, "another") is None
    assert [notes.read(each, "id") for each in ("", "?", "eastwest1:", "eastwest1:ü", note[:-5])] == [None] * 5


def test_what_is_not_in_the_store_or_is_damaged_there_is_told(notes, tmp_path):
    note = notes.written(state(2000), "id")
    [file] = (tmp_path / "state" / "decoders").iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"]")
    with pytest.raises(StateMismatch, match="damaged"):
        notes.read(note, "id")
    file.unlink()
    with pytest.raises(StateMismatch, match="is not at"):
        notes.read(note, "id")

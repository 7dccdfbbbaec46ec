"""The report of incidents in a browser: titles are shown, and can do nothing in it."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from detector.incidents.book import Book, Opening
from detector.incidents.written import write_report

START = datetime(2026, 3, 9, 10, tzinfo=UTC)
HOSTILE = (
    '<script>document.title="ran"</script> "><img src=x onerror=document.title="ran"> </title></svg> '
    "{{ 7 * 191 }} \x1b[2Jclear pay\u202egpj.exe"
)


@pytest.mark.browser
def test_a_browser_shows_hostile_titles_and_obeys_none(browse, tmp_path):
    book = Book(tmp_path)
    begun = START - timedelta(minutes=30)
    book.open([Opening("one", begun.isoformat(), START.isoformat(), "high", HOSTILE)], START)
    book.move("one", "acknowledge", HOSTILE, now=START + timedelta(minutes=10), why=HOSTILE)
    write_report(list(book.cases().values()), tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)  # escapes alone must do
    assert bare != page
    for html in (page, bare):
        dom = browse(html, "--dump-dom")
        assert "<title>eastwest incidents</title>" in dom
        assert "<script" not in dom
        assert "<img" not in dom
        assert "&lt;script&gt;" in dom
        assert "<rect" in dom
        assert "{{ 7 * 191 }}" in dom
        assert "\\u202e" in dom
        assert not {"\u202e", "\x1b"} & set(dom)

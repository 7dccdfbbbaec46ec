"""Documents as Markdown, JSON and HTML. All texts out of logs are somebody else's: each format escapes them."""

import re
from dataclasses import asdict
from typing import Final

import jinja2
import orjson

import detector
from detector.evidence.pack import ASK, Document, Section
from detector.renderings.strings import visible

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+.!|<>~&-])")


def as_json(document: Document) -> bytes:
    """The document with ``value`` null where somebody has to fill in."""
    content = {"version": detector.__version__, **asdict(document)}
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def as_markdown(document: Document) -> str:
    """CommonMark with tables."""
    parts = [f"# {document.title}", f"{text(document.basis)}. Due: {text(document.due)}"]
    parts += [_section(section) for section in document.sections]
    return "\n\n".join([*parts, f"eastwest {text(detector.__version__)}"]) + "\n"


def _section(section: Section) -> str:
    lines = [f"## {section.title}", ""]
    for field in section.fields:
        value = f"**[{ASK}: {text(field.ask)}]**" if field.value is None else text(field.value)
        lines.append(f"- {text(field.name)}: {value}")
    if section.columns:
        lines += [f"| {' | '.join(section.columns)} |", f"|{'---|' * len(section.columns)}"]
        lines += [f"| {' | '.join(text(cell) for cell in row)} |" for row in section.rows]
    return "\n".join(lines)


def text(value: str) -> str:
    r"""A value as text that Markdown takes for nothing else.

    >>> text("a|b <i>"), text("[x](y)")
    ('a\\|b \\<i\\>', '\\[x\\]\\(y\\)')
    """
    return _SPECIAL.sub(r"\\\1", visible(value))


def as_html(document: Document) -> str:
    """One page: no scripts, nothing fetched, all values escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("detector.evidence", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    page = environment.get_template("document.html.j2")
    return page.render(document=document, ask=ASK, version=detector.__version__)

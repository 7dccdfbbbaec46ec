"""The model card of a bundle, Markdown: the manifest for people, after Mitchell and others 2019
(doi:10.1145/3287560.3287596)."""

from collections.abc import Iterator, Mapping
from typing import Final

from detector.renderings.strings import visible
from detector.state.bundle import Bundle, Manifest

_SHOWN_FILES: Final = 20
_ESCAPED: Final = str.maketrans({"|": "\\|", "`": "'", "<": "&lt;", "\n": " ", "\r": " "})


def card(bundle: Bundle) -> str:
    """The card; the same for the same bundle. Texts of the manifest are escaped, but for the written part."""
    manifest, training = bundle.manifest, bundle.manifest.training
    lines = [
        f"# Model card: {manifest.name}",
        "",
        "Written by `eastwest model`; the part under *About* is by hand.",
        "",
        "| | |",
        "|---|---|",
        f"| SHA-256 | `{bundle.sha256}` |",
        f"| Made with | eastwest {_cell(manifest.detector)}, {_joined(manifest.libraries)} |",
        f"| Models | structure, {_cell(', '.join(manifest.models))} |",
        f"| Settings that are no defaults | {_cell(str(manifest.settings)) if manifest.settings else 'none'} |",
        f"| Taught from | {_cell(training.first)} to {_cell(training.last)}, {training.days:g} days |",
        f"| Rows, addresses | {training.rows:,}, {training.hosts:,} |",
        f"| Data | {training.file_count} files, SHA-256 over their digests `{training.data_sha256}` |",
        f"| Plant file | {'none' if training.plant_sha256 is None else f'`{training.plant_sha256}`'} |",
        "",
        "## About",
        "",
        manifest.description.strip() or "Nothing was written.",
        "",
        *_measured(manifest.metrics),
        *_looked_at(manifest),
        *_files(manifest),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _measured(metrics: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield from ("## What was measured", "")
    if not metrics:
        yield from ("Nothing.", "")
        return
    names = list(dict.fromkeys(name for numbers in metrics.values() for name in numbers))
    yield f"| On | {' | '.join(_cell(name.replace('_', ' ')) for name in names)} |"
    yield f"|---|{'---|' * len(names)}"
    for where, numbers in metrics.items():
        cells = [f"{numbers[name]:g}" if name in numbers else "" for name in names]
        yield f"| {_cell(where)} | {' | '.join(cells)} |"
    yield ""


def _looked_at(manifest: Manifest) -> Iterator[str]:
    yield from ("## What it looks at", "")
    for part, names in manifest.features.items():
        yield f"- `{_cell(part)}`: {_cell(', '.join(names))}"
    yield f"- strata: {_cell('; '.join(manifest.strata))}"
    yield ""


def _files(manifest: Manifest) -> Iterator[str]:
    training = manifest.training
    yield from ("## Data", "", "| File | Bytes | SHA-256 |", "|---|---|---|")
    for file in training.files[:_SHOWN_FILES]:
        yield f"| `{_cell(file.name)}` | {file.bytes:,} | `{file.sha256}` |"
    if training.file_count > _SHOWN_FILES:
        yield from ("", f"and {training.file_count - _SHOWN_FILES} more")


def _joined(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{_cell(name)} {_cell(number)}" for name, number in sorted(versions.items()))


def _cell(text: str) -> str:
    return visible(text).translate(_ESCAPED)

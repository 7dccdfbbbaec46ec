"""A bundle out of logs: what a network's history taught, as far as another can use it (`score.portable`)."""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import detector
from detector.alerts.model import iso
from detector.assets.plant import Plant
from detector.backtest.labels import Label
from detector.backtest.run import backtest
from detector.config import Settings
from detector.engine import Engine
from detector.errors import ConfigError
from detector.features.acts import CLASSES
from detector.features.units import PLACES
from detector.normalize.spool import Spool
from detector.reading import Progress, Reader, require_logs
from detector.records import Decoded
from detector.score.portable import features, portable
from detector.sources.files import Files
from detector.state.bundle import Bundle, DataFile, Manifest, Training

_LIBRARIES: Final = ("numba", "numpy", "polars", "pyarrow", "river", "scikit-learn", "zstandard")
_MOST_FILES: Final = 1000  # that are named in a manifest; the digest over all has the others too
_CHUNK: Final = 1 << 20
_DAY_US: Final = 86_400e6


@dataclass(frozen=True, slots=True)
class Measure:
    """What a bundle is measured on: a network it was not trained on, judged from the first row, without history."""

    name: str
    paths: Sequence[Path]
    plant: Plant | None = None
    labels: list[Label] | None = None


def train(
    paths: Sequence[Path],
    settings: Settings,
    name: str,
    *,
    plant: Plant | None = None,
    plant_file: Path | None = None,
    description: str = "",
    log_format: str = "auto",
    progress: Progress = lambda stage, done, total, rows: None,
) -> Bundle:
    """Let logs teach an engine, and take what travels. The same logs, settings and libraries give the same bundle,
    wherever the logs lie.

    Args:
        paths: files or folders; clean ones, as all they hold is learned as usual.
        plant_file: where the plant was read from, for its hash.
        description: the written part of the model card.

    Raises:
        UnreadableInput: a path is missing, or no record could be read.
        ConfigError: the name or description cannot be used, or the logs hold nothing to learn from.
    """
    engine, (first, last), files = _taught(paths, settings, plant, log_format, progress)
    training = Training(
        first=iso(first),
        last=iso(last),
        days=round((last - first) / _DAY_US, 4),
        rows=engine.accounting.scored,
        hosts=int(engine.scorer.phases.hosts.used[0]),
        plant_sha256=None if plant_file is None else _sha256(plant_file),
        **_data(paths, files),
    )
    try:
        manifest = Manifest(
            name=name,
            detector=detector.__version__,
            description=description,
            models=list(settings.models),
            features=features(engine.scorer),
            strata=[f"{kind}, {place}" for kind in CLASSES for place in PLACES],
            settings=settings.model_dump(mode="json", exclude={"batch_rows"}, exclude_defaults=True),
            training=training,
            metrics={},
            libraries={library: version(library) for library in _LIBRARIES},
            arrays=[],
        )
    except ValueError as problem:
        raise ConfigError("--name", name[:100], "is no name of a bundle, or its description is too long") from problem
    return Bundle(manifest, portable(engine.scorer), "", "unsigned")


def _taught(
    paths: Sequence[Path], settings: Settings, plant: Plant | None, log_format: str, progress: Progress
) -> tuple[Engine, tuple[int, int], Files]:
    """An engine that saw it all, when that was (µs), and what was read."""
    engine = Engine(settings, plant)
    engine.teach = True
    scratch = Path(tempfile.mkdtemp(prefix="eastwest-"))
    try:
        spool, done = Spool(scratch), 0
        reader = Reader(settings, log_format, progress, BytesIO())
        files = reader.files(paths)
        for decoded in reader.read(files):
            spool.add(decoded)
        require_logs(len(files.files), files.skipped)
        if not spool.rows:
            raise ConfigError(str(paths[0]), "", "holds no record to learn from")
        total, span = spool.rows, spool.span()
        for batch in spool.batches(settings.batch_rows):
            engine.push(Decoded(batch.flows, batch.operations))
            done += batch.rows
            progress("learn", done, total, done)
        engine.finish()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return engine, span, files


def _data(paths: Sequence[Path], files: Files) -> dict[str, Any]:
    """Names (below the folders that were given) and digests, whatever the order."""
    folders = [path for path in paths if path.is_dir()]
    skipped = {skipped.path for skipped in files.skipped}
    told = sorted(
        (_name(file, folders), file.stat().st_size, _sha256(file)) for file in files.paths if str(file) not in skipped
    )
    digests = "".join(sorted(digest for _, _, digest in told))
    return {
        "file_count": len(told),
        "files": [DataFile(name=name, bytes=size, sha256=digest) for name, size, digest in told[:_MOST_FILES]],
        "data_sha256": hashlib.sha256(digests.encode()).hexdigest(),
    }


def _name(file: Path, folders: Sequence[Path]) -> str:
    return next((str(file.relative_to(folder)) for folder in folders if file.is_relative_to(folder)), file.name)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def measured(
    bundle: Bundle, on: Sequence[Measure], settings: Settings, progress: Progress = lambda *_: None
) -> Mapping[str, Mapping[str, float]]:
    """What a backtest without history says of each, without and with the bundle; see `_numbers`."""
    found: dict[str, Mapping[str, float]] = {}
    for measure in on:
        for how, model in (("without", None), ("with", bundle)):
            with tempfile.TemporaryDirectory(prefix="eastwest-") as out:
                result = backtest(
                    measure.paths, Path(out), settings, plant=measure.plant, labels=measure.labels, model=model,
                    progress=progress,
                )  # fmt: skip
            found[f"{measure.name}, {how}"] = _numbers(result.summary)
    return found


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    numbers = {"days": summary["time"]["days"], "alerts": summary["alerts"]["count"]}
    if "labels" in summary:
        names = ("false_alerts", "campaigns_found", "campaigns_total", "hops_found", "hops_total")
        numbers |= {name: summary["labels"][name] for name in names}
    return {name: float(number) for name, number in numbers.items()}

"""`eastwest drill`: learn, cast, write into a copy, run twice, measure. See docs/drill.md for the files."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import detector
from detector.alerts.decisions import End, Entry
from detector.alerts.model import iso
from detector.assets.plant import Plant
from detector.backtest.run import Result, backtest
from detector.config import Settings
from detector.drill.cast import CLOCKS, PACES, Campaign, Casting, playable, timed
from detector.drill.measure import judged, report
from detector.drill.network import Network, learn
from detector.drill.records import FLOW_MARK, UID_PREFIX, write
from detector.drill.techniques import PLAYABLE, Technique
from detector.errors import ConfigError, UnreadableInput
from detector.reading import Progress
from detector.sources.files import DRILL_MARKER, Files

_TAUGHT: Final = 2 / 3  # of a history without --train-until
_SHORTEST: Final = 120_000_000  # µs of judged history: twice the slack of labels
_MOST_CAMPAIGNS: Final = 1000
_OURS: Final = ("logs", "control", "result", "labels.csv", "drill.json", "drill.csv", "report.html", "rejected.ndjson")
_NOTE: Final = f"""These records are a drill of eastwest. Below logs/drill there are attacks that never happened:
uids begin with {UID_PREFIX}, flows have the field {FLOW_MARK}; labels.csv lists them.
Do not ship this folder to a SIEM. eastwest passes it over when it reads a folder above it.
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to play.

    Args:
        campaigns: how many.
        paces: of `cast.PACES`, in turn.
        techniques: ids; a technique stands for its sub-techniques. Empty = all.
        clock: of `cast.CLOCKS`.
        seed: the same gives the same bytes.
        train_until: µs; before, the history only teaches and nobody attacks. None, or before its first record =
            its first two thirds.
    """

    campaigns: int = 20
    paces: tuple[str, ...] = ("minutes",)
    techniques: tuple[str, ...] = ()
    clock: str = "work"
    seed: int = 1
    train_until: int | None = None


@dataclass(frozen=True, slots=True)
class Drill:
    """What came of it; the files are written. ``summary`` is the content of ``drill.json``."""

    summary: dict[str, Any]
    control: Result
    result: Result
    out: Path


def drill(
    paths: Sequence[str | Path],
    out: Path,
    settings: Settings,
    wish: Wish,
    *,
    plant: Plant | None = None,
    decisions: Sequence[Entry | End] = (),
    progress: Progress = lambda stage, done, total, rows: None,
) -> Drill:
    """Play campaigns into a copy of the logs under the paths, and say what was found of them.

    Raises:
        ConfigError: the wish or the folder cannot be; nothing is written.
        UnreadableInput: nothing can be read, the history is too short or too small, or nothing can be played on it.
    """
    from detector.drill.written import write_files  # noqa: PLC0415 - jinja only where it is used

    wanted = _checked(wish)
    prepare(paths, out)
    paths = sorted(paths, key=str)  # whoever names them in another order means the same
    plant = plant or Plant()
    with (out / "rejected.ndjson").open("wb") as dead_letters:
        network = learn(paths, settings, plant, "auto", dead_letters, _part("history", progress))
    room = _room(network, wish)
    can, missing = playable(network, wanted)
    campaigns = _cast(network, can, missing, wish, room)
    history, injected = out / "logs" / "history", out / "logs" / "drill"
    copy(paths, history, progress)
    written = write(campaigns, network, network.last, injected, out / "labels.csv", wish.seed)
    given: dict[str, Any] = {"plant": plant, "train_until": room[0], "decisions": decisions}
    control = backtest([history], out / "control", settings, progress=_part("without", progress), **given)
    result = backtest([history, injected], out / "result", settings, progress=_part("with", progress), **given)
    told = judged(campaigns, written, result, control)
    summary = {
        "version": detector.__version__,
        "seed": wish.seed,
        "clock": wish.clock,
        "paces": list(wish.paces),
        "history": {"first": iso(network.first), "last": iso(network.last), "judged_from": iso(room[0])},
        "logs": sorted(network.logs),
        "hosts": len(network.assets),
        "injected": {"connections": written.connections, "records": written.records},
        **report(told, _not_played(campaigns, can, missing), result, control),
        "settings": settings.model_dump(mode="json"),
    }
    write_files(summary, out)
    return Drill(summary, control, result, out)


def _part(name: str, progress: Progress) -> Progress:
    """Stages of one part: the same ones come again in the next."""
    return lambda stage, done, total, rows: progress(f"{name}: {stage}", done, total, rows)


def _checked(wish: Wish) -> tuple[str, ...]:
    """Ids of the techniques that were asked for.

    Raises:
        ConfigError: something nobody can play.
    """
    if not 1 <= wish.campaigns <= _MOST_CAMPAIGNS:
        raise ConfigError("--campaigns", "", f"must be between 1 and {_MOST_CAMPAIGNS}, not {wish.campaigns}")
    for name, value, allowed in (
        *(("--pace", pace, tuple(PACES)) for pace in wish.paces),
        ("--clock", wish.clock, CLOCKS),
    ):
        if value not in allowed:
            raise ConfigError(name, "", f"must be one of {', '.join(allowed)}, not {value!r}")
    found: list[str] = []
    for asked in wish.techniques:
        fitting = [name for name in PLAYABLE if name == asked or name.startswith(f"{asked}.")]
        if not fitting:
            raise ConfigError(
                "--techniques", "", f"{asked!r} is none that can be played; they are {', '.join(PLAYABLE)}"
            )
        found += fitting
    return tuple(dict.fromkeys(found))


def _room(network: Network, wish: Wish) -> tuple[int, int]:
    """From when to when campaigns may run, µs.

    Raises:
        ConfigError: hardly anything of the history is left to play in.
    """
    first, last = network.first, network.last
    begin = wish.train_until
    if begin is None or begin <= first:  # a service that has run for long: its training is not in this history
        begin = first + int((last - first) * _TAUGHT)
    if last - begin < _SHORTEST:
        raise ConfigError(
            "--train-until", "",
            f"leaves less than two minutes to play in: the history is from {iso(first)} to {iso(last)}",
        )  # fmt: skip
    return begin, last


def _cast(
    network: Network, can: Sequence[Technique], missing: dict[str, str], wish: Wish, room: tuple[int, int]
) -> list[Campaign]:
    if not can:
        said = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
        raise UnreadableInput(f"none of the techniques can be played on this history ({said})")
    campaigns = Casting(network, can, room[0], wish.seed).cast(wish.campaigns, wish.paces)
    if not campaigns:
        raise UnreadableInput(
            "none of the techniques has both somebody to begin and a host to be done to in the time that is judged"
        )
    return timed(campaigns, network, room, wish.clock, wish.seed)


def _not_played(campaigns: Sequence[Campaign], can: Sequence[Technique], missing: dict[str, str]) -> dict[str, str]:
    """Also those that could be, but for which no campaign had room or a way."""
    played = {hop.technique for campaign in campaigns for hop in campaign.hops}
    left = {one.id: "not played: no campaign came to it" for one in can if one.id not in played}
    return missing | left


# --- the folder ---


def prepare(paths: Sequence[str | Path], out: Path) -> None:
    """Make the folder, marked, or clear the drill that is in it.

    Raises:
        ConfigError: real logs are read from it or above it, or it holds something that no drill wrote.
    """
    here = out.resolve()
    for path in paths:
        real = Path(path).resolve()
        if here == real or real in here.parents or here in real.parents:
            raise ConfigError(
                "--out", "", f"{out} and {path} lie within each other: a drill must not be read as real logs"
            )
    if out.exists() and not out.is_dir():
        raise ConfigError("--out", "", f"{out} is no folder")
    if out.exists() and any(out.iterdir()) and not (out / DRILL_MARKER).exists():
        raise ConfigError("--out", "", f"{out} holds files that no drill wrote; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    (out / DRILL_MARKER).write_text(_NOTE, encoding="utf-8")
    for name in _OURS:
        if (out / name).is_dir():
            shutil.rmtree(out / name)
        else:
            (out / name).unlink(missing_ok=True)


def copy(paths: Sequence[str | Path], to: Path, progress: Progress) -> None:
    """Copy logs, each path into a folder of its own, so that names stay what they are: some tell the log type."""
    done, total = 0, Files(paths).bytes_total
    for number, path in enumerate(paths):
        root = Path(path)
        for file in Files([root]).paths:
            target = to / f"{number:02d}" / (file.relative_to(root) if root.is_dir() else Path(file.name))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            done += target.stat().st_size
            progress("copy", done, total, 0)

"""The page about reach says what the code does."""

from pathlib import Path

import orjson
from typer.testing import CliRunner

from detector.cli import app
from detector.metrics import REACH
from detector.reach.model import CANDIDATES, KINDS
from detector.reach.written import BY_HOP, COLUMNS
from tests.scenarios.world import simulated

PAGE = (Path(__file__).parents[2] / "docs" / "reach.md").read_text(encoding="utf-8")


def test_the_walk_from_a_proposal_to_what_it_changes(tmp_path_factory, tmp_path, monkeypatch):
    world = simulated(tmp_path_factory, days=2, hosts=40, seed=3)
    (tmp_path / "logs").symlink_to(world.zeek_dir)
    monkeypatch.chdir(tmp_path)
    shown = PAGE.partition("### From a proposal")[2].partition("```sh\n")[2].partition("```")[0]
    for line in shown.splitlines():
        done = CliRunner().invoke(app, line.split()[1:])
        assert done.exit_code == 0, done.output
    summary = orjson.loads(Path("reach/summary.json").read_bytes())
    assert summary["proposal"]["permitted"] > summary["proposal"]["denied"] > 0
    shares = [(zone["used"], zone["after"]) for zone in summary["zones"]]
    assert all(after[of]["max"] <= used[of]["max"] for used, after in shares for of in used)
    assert any(after["hosts"]["max"] < used["hosts"]["max"] for used, after in shares)
    page = Path("reach/report.html").read_text("utf-8")
    assert "<h3>today" in page
    assert "<h3>with the proposal" in page
    told = {part for part in Path("reach/reach.prom").read_text("utf-8").split() if "{" in part}
    assert {as_ for as_ in ("used", "after") if any(f'as="{as_}"' in part for part in told)} == {"used", "after"}


def test_columns_kinds_and_the_metric_are_documented():
    assert all(f"`{name}`" in PAGE for name in (*COLUMNS, *BY_HOP, *KINDS))
    assert f"| `{REACH.name}` |" in PAGE
    assert all(f"`{label}`" in PAGE for label in REACH.labels)
    assert REACH.help in PAGE
    assert f"The {CANDIDATES} hosts" in PAGE

# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. Evaluate on labelled data
# Labels are a table: campaign, from when to when, from where to where, technique.

# %%
from pathlib import Path

import detector
from detector.simulate import simulate

if not Path("plant").exists():
    simulate(Path("plant"), days=4, hosts=60, seed=7, density=0.2, netflow=False)

# %%
labels = detector.pl.read_csv("plant/labels.csv")
labels.select("campaign", "start", "src", "dst", "technique")

# %%
scores = detector.scores(
    "plant/zeek", plant="plant/plant.yaml", labels="plant/labels.csv", train_until="2026-03-04T00:00:00Z"
)
detector.pl.DataFrame(scores.summary["labels"]["campaigns"])

# %% [markdown]
# Found means: an alert or a hop of an incident between the two hosts, at that time. What of the rest?

# %%
{name: number for name, number in scores.summary["labels"].items() if name != "campaigns"}

# %%
detector.plots.timeline(scores)

# %% [markdown]
# Few campaigns make wide intervals: with two found of two, the true share lies anywhere between 34 and 100 %
# (Wilson, 95 %). `docs/detection.md` measures on a hundred and more.

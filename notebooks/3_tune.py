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
# # 3. Tune budget and models
# The budget is the one number that matters: how many alerts a day do people read?

# %%
from pathlib import Path

import detector
from detector.simulate import simulate

if not Path("plant").exists():
    simulate(Path("plant"), days=4, hosts=60, seed=7, density=0.2, netflow=False)

# %%
run = {"plant": "plant/plant.yaml", "labels": "plant/labels.csv", "train_until": "2026-03-04T00:00:00Z"}
scores = detector.scores("plant/zeek", **run)
detector.plots.budget(scores)

# %% [markdown]
# The red line is the budget. Where it meets the curve is the threshold: all rows to the right are strange enough.
# What do other budgets find?

# %%
rows = []
for alerts_per_day in (5, 25, 100):
    found = detector.scores("plant/zeek", **run, alerts_per_day=alerts_per_day).summary
    rows.append(
        {"budget": alerts_per_day, "alerts": found["alerts"]["count"]}
        | {name: found["labels"][name] for name in ("false_alerts", "campaigns_found", "hops_found")}
    )
detector.pl.DataFrame(rows)

# %% [markdown]
# What would be lost without a model? One campaign more or less is chance on four days; `docs/detection.md` has the
# figures for many seeds.

# %%
without = detector.scores("plant/zeek", **run, models=("operations", "credentials", "crossing"))
without.summary["labels"]["hops_found"], scores.summary["labels"]["hops_found"]

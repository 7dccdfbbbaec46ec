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
# # 4. Train and promote a model
# What two quiet days taught, for a start without history.

# %%
from pathlib import Path

import detector
from detector.simulate import simulate

if not Path("plant").exists():
    simulate(Path("plant"), days=4, hosts=60, seed=7, density=0.2, netflow=False)

# %%
# !eastwest model train plant/zeek/2026-03-02 plant/zeek/2026-03-03 --plant plant/plant.yaml --out candidate.model

# %% [markdown]
# The day of the attack as if it were the first, without and with the candidate:

# %%
day = {"plant": "plant/plant.yaml", "labels": "plant/labels.csv"}
alone = detector.scores("plant/zeek/2026-03-04", **day)
helped = detector.scores("plant/zeek/2026-03-04", **day, model="candidate.model")
names = ("false_alerts", "campaigns_found", "hops_found")
detector.pl.DataFrame(
    [
        {"with": what} | {name: one.summary["labels"][name] for name in names}
        for what, one in (("nothing", alone), ("candidate", helped))
    ]
)

# %%
detector.plots.timeline(helped)

# %% [markdown]
# Days of the same plant flatter a model; `docs/models.md` measures on others. If it is better, make it live:

# %%
# !eastwest model promote candidate.model live.model --by notebook --why "fewer false alerts on a first day"

# %%
# !eastwest model verify live.model

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
# # 6. Segment a plant
# Zones and conduits (IEC 62443) that fit what the network does, out of its quiet days.

# %%
from pathlib import Path

import detector
from detector.simulate import simulate

if not Path("plant").exists():
    simulate(Path("plant"), days=4, hosts=60, seed=7, density=0.2, netflow=False)

# %%
# !eastwest zones propose plant/zeek/2026-03-02 plant/zeek/2026-03-03 --out proposal --limit 12

# %% [markdown]
# What would the proposal have stopped on the day of the attack?

# %%
# !eastwest zones check plant/zeek/2026-03-04 --plant proposal/plant.yaml --out checked --limit 8

# %%
scores = detector.scores("plant/zeek/2026-03-04", plant="proposal/plant.yaml", history="plant/zeek/2026-03-03")
detector.plots.timeline(scores)

# %% [markdown]
# The proposal is a beginning: read it, name the zones, and have it reviewed before anything enforces it.

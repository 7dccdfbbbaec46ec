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
# # 2. Understand one incident
# Two quiet days teach, then everything is judged.

# %%
from pathlib import Path

import detector
from detector.simulate import simulate

if not Path("plant").exists():
    simulate(Path("plant"), days=4, hosts=60, seed=7, density=0.2, netflow=False)

# %%
scores = detector.scores("plant/zeek", plant="plant/plant.yaml", train_until="2026-03-04T00:00:00Z")
detector.plots.timeline(scores)

# %% [markdown]
# Alerts, the strongest first:

# %%
scores.alerts.sort("score", descending=True).select("ts", "severity", "src", "dst", "title").head(8)

# %% [markdown]
# Several that follow each other are an incident: he arrives at a host, and leaves from it.

# %%
scores.incidents.select("incident_id", "ts", "src", "dst", "service", "operations", "p_value")

# %%
incident = scores.told[scores.incidents["incident_id"][0]]
detector.plots.path(scores, incident.incident_id)

# %% [markdown]
# Why does the engine say so? Every hop has its reasons, as numbers:

# %%
print(incident.title)
for hop in incident.path:
    print(f"\n{hop.ts[:19]}  {hop.src} -> {hop.dst}  {hop.service}")
    print("  " + "\n  ".join(hop.reasons[:3]))

# %% [markdown]
# And what to do next:

# %%
print("\n".join(incident.next_steps))

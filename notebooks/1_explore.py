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
# # 1. Explore traffic and baselines
# A made-up car plant of 60 hosts, four days of Zeek logs; two intruders come on the third day. Put the folder of your
# own logs in the place of `plant/zeek`.

# %%
from pathlib import Path

import detector
from detector.simulate import simulate

if not Path("plant").exists():
    simulate(Path("plant"), days=4, hosts=60, seed=7, density=0.2, netflow=False)

# %%
logs = detector.load("plant/zeek")
logs.flows.select("ts", "orig_h", "resp_h", "resp_p", "proto", "orig_bytes", "resp_bytes").head(5)

# %% [markdown]
# When is the network busy? People come at seven; machines never sleep.

# %%
detector.plots.activity(logs)

# %% [markdown]
# What is used most? Mind the scale: a poll each minute is most of what there is.

# %%
detector.plots.services(logs)

# %% [markdown]
# What is usual is what pairs of hosts do again and again. How many pairs are there, and how many were seen on one day
# only?

# %%
pl = detector.pl
pairs = logs.flows.group_by("orig_h", "resp_h", "resp_p").agg(days=pl.col("ts").dt.date().n_unique())
pairs.group_by("days").len().sort("days")

# %% [markdown]
# Being seen once is no news. What makes a pair strange is that neither host, nor hosts like them, do such things: that
# is what the scores say in the next notebook.

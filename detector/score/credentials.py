"""Credentials: how unlikely is this account on this edge, from this host, at that one?

An intruder on an old path with an old tool still needs somebody's account. Two chains of `backoff`, account given
where it comes from and account given where it is used::

    P(u | s, d) <- P(u | s) <- P(u | role of s)        P(u | d, protocol) <- P(u | role of d)

A person's host knows one account in thousands of hours, so a second one there costs ten bits; an administrator's host
on a server that sees many accounts costs next to nothing. Accounts are those seen on the wire (Zeek's ntlm, kerberos,
rdp, ssh, smb, ftp, http, ...), compared in lower case. Prior work on log-on records: Turcotte, Moore, Heard, McPhall
2016 (Poisson factorization, doi:10.1109/ISI.2016.7745472); on switched credentials: Ho et al. 2021 (Hopper,
arXiv:2105.13442).
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from detector.score import backoff
from detector.score.memory import Memory
from detector.state.keys import mix_all

_CHAINS, _LEVELS = 2, 3


class Credentials:
    """The model with its state. See `memory.Memory` for the arguments."""

    name: Final = "credentials"

    def __init__(self, strata: int, max_entries: int, half_life_days: float) -> None:
        self.memory = Memory(strata, max_entries, half_life_days, backoff.new_entries(_CHAINS, _LEVELS))

    def score(self, units: pl.DataFrame) -> pl.DataFrame:
        """``p_credentials``; ``credentials`` (nats), ``user_seen`` (hours this account was seen on this edge),
        ``edge_users`` (distinct accounts on it)."""
        orig, resp, service = (units[name].to_numpy() for name in ("orig_id", "resp_id", "service_id"))
        orig_role, resp_role = units["orig_role"].to_numpy(), units["resp_role"].to_numpy()
        user = units["user_id"].fill_null(0).to_numpy()
        origin = np.stack([mix_all(orig, resp), orig, orig_role], axis=1)
        target = np.stack([mix_all(resp, service), resp, resp_role], axis=1)
        questions = backoff.Questions(
            contexts=np.ascontiguousarray(np.stack([origin, target], axis=1)),
            symbols=np.stack([user, user], axis=1),
            asked=units["user_id"].is_not_null().to_numpy(),
            stratum=units["stratum"].cast(pl.Int64).to_numpy(),
            bonus=np.zeros(units.height),
            time=units["obs_ts"].to_numpy(),
            teach=units["teach"].to_numpy(),
        )
        out = backoff.answer(self.memory, questions)
        return pl.DataFrame(
            {"p_credentials": out[:, 1], "credentials": out[:, 0], "user_seen": out[:, 2], "edge_users": out[:, 4]}
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Everything learned, for a snapshot."""
        return self.memory.arrays()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace what was learned by what `arrays` returned."""
        self.memory.load(arrays)

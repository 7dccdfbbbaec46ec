"""What each model has to say of a row, in one sentence with the numbers it judged by."""

from collections.abc import Callable
from typing import Any, Final

Row = dict[str, Any]
WORTH_SAYING: Final = 0.05
"""p-value up to which a model's opinion is part of the reasons."""


def opinions(row: Row, count: Callable[[float], str], one_in: Callable[[float], str]) -> list[str]:
    """Sentences of the models that find the row strange, strangest first; ``count`` and ``one_in`` write numbers."""
    said = sorted((row[f"p_{name}"], name) for name in SENTENCES if row.get(f"p_{name}", 1.0) <= WORTH_SAYING)
    return [f"{SENTENCES[name](row, count)}; 1 in {one_in(p)} such rows is as strange" for p, name in said]


def _operations(row: Row, count: Callable[[float], str]) -> str:
    return (
        f"between the two {row['service']} was seen in {count(row['edge_hours'])} hours with {count(row['edge_acts'])} "
        f"different acts, this act in {count(row['act_seen'])} of them"
    )


def _credentials(row: Row, count: Callable[[float], str]) -> str:
    return (
        f"this account was seen on this path in {count(row['user_seen'])} hours before, "
        f"{count(row['edge_users'])} accounts in all"
    )


def _timing(row: Row, count: Callable[[float], str]) -> str:
    return f"at an unusual time: this path was used in this part of the day in {count(row['hour_seen'])} hours before"


def _crossing(row: Row, count: Callable[[float], str]) -> str:
    return (
        f"from zone {row['orig_zone']} to zone {row['resp_zone']} by {row['service']}: "
        f"this host went this way in {count(row['way_seen'])} hours before"
    )


def _provenance(row: Row, count: Callable[[float], str]) -> str:
    share = 100 * row["unexplained_share"]
    return (
        f"nobody had logged on to {row['orig_h']} in the hours before; "
        f"of what it does by {row['service']} {share:.0f} % comes without such a session"
    )


def _volume(row: Row, count: Callable[[float], str]) -> str:
    what = ("", "connections", "bytes sent", "bytes received")[int(row["volume_what"])]
    return (
        f"{count(row['volume_seen'])} {what} within the hour where {count(row['volume_usual'])} are usual, "
        f"by {count(row['volume_hours'])} hours of this path and what others do"
    )


def _fanout(row: Row, count: Callable[[float], str]) -> str:
    return (
        f"{row['orig_h']} tried {count(row['fanout_targets'])} different targets within ten minutes where "
        f"{count(row['fanout_usual'])} are usual, by {count(row['fanout_windows'])} windows of this host and what "
        "others do"
    )


SENTENCES: Final[dict[str, Callable[[Row, Callable[[float], str]], str]]] = {
    "operations": _operations,
    "credentials": _credentials,
    "timing": _timing,
    "crossing": _crossing,
    "provenance": _provenance,
    "volume": _volume,
    "fanout": _fanout,
}
"""By model; the columns read are those the model adds."""

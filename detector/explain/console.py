"""An explanation in the terminal. Log strings are plain text: no markup, no terminal sequences."""

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from detector.backtest.words import amount, one_in, stamp, visible
from detector.score.budget import P_CUT
from detector.score.fusion import FEW_CASES

Plain = dict[str, Any]
_ARROW: Final = " → "
_COUNTED: Final = {
    "pair": "hours of this pair",
    "orig": "hours of the source, kinds",
    "resp": "hours of the target, kinds",
    "role_orig": "hosts like the source that did this to the target",
    "role_orig_all": "pairs of hosts like the source, kinds",
    "role_resp": "hosts like the target that the source did this to",
    "role_resp_all": "pairs of hosts like the target, kinds",
    "roles": "pairs between the two roles",
    "roles_orig_all": "of the source's role, kinds",
    "roles_resp_all": "of the target's role, kinds",
    "resp_in_role": "of them at the target",
    "resp_in_role_all": "at its role",
    "orig_in_role": "of them from the source",
    "orig_in_role_all": "from its role",
    "orig_role_hosts": "hosts like the source",
    "resp_role_hosts": "hosts like the target",
}
"""By the names of `score.structure.LOOKED_UP`: what was counted, faded by age; behind the stroke how many different."""


def shown(explained: Plain) -> RenderableType:
    """The whole explanation: of an alert its strongest finding in full, of the others what they add."""
    return _incident(explained) if explained["kind"] == "incident" else _alert(explained)


def _alert(explained: Plain) -> RenderableType:
    alert, findings = explained["alert"], explained["findings"]
    strongest = findings[0]
    parts: list[RenderableType] = [
        _head(f"{alert['kind']} alert {alert['alert_id']}", alert["title"]),
        _line(
            f"score {alert['score']:.4f} = -log10 of p-value {alert['p_value']:.4g}, {one_in(alert['p_value'])} rows; "
            f"severity {alert['severity']}"
        ),
        _section("1. The record"),
        _record(strongest),
        _section("2. What each model says"),
        _models(strongest),
        *(_numbers(told) for told in strongest["models"]),
        _section("3. Together"),
        _merged(strongest["merged"]),
        _section("4. How many a day, and the chain it continues"),
        *_finding(strongest),
        _section("5. Severity"),
        *_severity(explained),
    ]
    if len(findings) > 1:
        parts += [_section(f"6. The {len(findings)} findings of the hour, the strongest first"), _findings(findings)]
    return Group(*parts)


def _incident(explained: Plain) -> RenderableType:
    incident = explained["incident"]
    table = _table("Time (UTC)", "Path", "A day", "Part", "Findings")
    for hop in explained["hops"]:
        part = "chain" if hop["in_chain"] else "another chain" if hop["sure"] else "around it"
        titles = "\n".join(f"{one['alert_id'][:8]} {visible(one['title'])}" for one in hop["findings"])
        table.add_row(
            Text(stamp(hop["ts"])), _path(hop), Text(_number(hop["per_day"])), Text(part), Text(titles, style="dim")
        )
    return Group(
        _head(f"incident {incident['incident_id']}", incident["title"]),
        _line(f"score {incident['score']:.4f} = -log10 of p-value {incident['p_value']:.4g}; "
              f"severity {incident['severity']}"),
        _section("1. The least likely chain in it"),
        *_chain(explained["chain"]),
        _section("2. All hops"),
        table,
    )  # fmt: skip


def _record(told: Plain) -> Table:
    table = _table("", "")
    since = {name: stamp(at) if at else "never before" for name, at in told["known_since"].items()}
    asked = ("device", "user", "pair") if told["user"] else ("device", "pair")
    rows = {
        "time": f"{stamp(told['ts'])} UTC",
        "from": f"{_end(told['orig_h'], told['orig_p'])} ({told['orig_zone']})",
        "to": f"{_end(told['resp_h'], told['resp_p'])} ({told['resp_zone']})",
        "what": " ".join(word for word in (told["service"], told["operation"], told["object"]) if word),
        "account": told["user"],
        "log": f"{told['log']}, {told['source']}:{told['position']}",
        "history": f"{_number(told['history'])} days, {_number(told['hosts'])} hosts inside",
        "known since": ", ".join(f"{name} {since[name]}" for name in asked),
        "verdict": told["verdict"],
    }
    for name, value in rows.items():
        if value:
            table.add_row(Text(name, style="dim"), Text(visible(str(value))))
    return table


def _end(host: str, port: int | None) -> str:
    return host if port is None else f"{host} port {port}"


def _models(told: Plain) -> RenderableType:
    by_name = {one["model"]: one for one in told["models"]}
    table = _table("Model", "Score", "Past rows", "As high", "p", "Rows a day", "Attention", "r, a day", "nats", "held")
    for opinion in told["merged"]["opinions"]:
        one = by_name.get(opinion["model"])
        past = None if one is None else one["past"]
        table.add_row(
            Text(opinion["model"], style="bold" if opinion["nats"] > 0 else ""),
            Text("" if one is None else _number(one["score"])),
            Text(_dash(past, "past") + (" of all" if past and past["pooled"] else "")),
            Text(_dash(past, "at_least")),
            Text(_number(opinion["p"])),
            *(Text(_number(value)) for value in (opinion["per_day"], opinion["share"], opinion["rate"],
                                                opinion["nats"], opinion["held"])),
        )  # fmt: skip
    return Group(
        table,
        _note("r = p \u00d7 rows a day / attention; nats = ln(1000 / r), r at least once in 20 days; held: before it"),
    )


def _dash(past: Plain | None, name: str) -> str:
    return "—" if past is None else _number(past[name])


def _numbers(told: Plain) -> RenderableType:
    """What a model's score is made of."""
    lines = [*_lines(told["numbers"])]
    if told["past"] and told["past"]["tail"]:
        lines.append(_tail(told["past"]).removeprefix("; "))
    return Text.assemble((f"{told['model']}: ", "bold"), visible("; ".join(lines))) if lines else Text("")


def _lines(numbers: Plain) -> Iterator[str]:
    for name, value in numbers.items():
        if name == "counts":
            yield ", ".join(f"{_COUNTED[key]} {_pair(pair)}" for key, pair in value.items())
        elif name == "chains":
            for levels in value:
                told = (f"{_number(one['symbol'])} of {_number(one['total'])} hours, {_number(one['distinct'])} kinds: "
                        f"P {_number(one['p'])}" for one in levels)  # fmt: skip
                yield "from wide to narrow " + " | ".join(told)
        elif name == "hour":
            yield "this hour (usual) " + ", ".join(
                f"{key} {_number(pair[0])} ({_number(pair[1])})" for key, pair in value.items()
            )
        elif isinstance(value, dict):
            yield f"{name} " + ", ".join(f"{key} {_number(part)}" for key, part in value.items())
        elif value is not None and not isinstance(value, bool):
            yield f"{name.replace('_', ' ')} {value if isinstance(value, str) else _number(value)}"


def _pair(pair: list[float]) -> str:
    return _number(pair[0]) if not pair[1] else f"{_number(pair[0])}/{_number(pair[1])}"


def _merged(merged: Plain) -> RenderableType:
    began = "begins a case" if merged["began"] is None else f"belongs to the case of {stamp(merged['began'])}"
    past = merged["past"]
    if past["past"] < FEW_CASES:
        rates = [one["rate"] * one["odds"] for one in merged["opinions"] if one["p"] < 1.0]
        compared = (
            f"{_number(past['past'])} cases were learned, fewer than {FEW_CASES:g}: the smallest rate speaks, "
            f"{_number(min(rates))} of {_number(merged['judged_per_day'])} rows a day"
        )
    else:
        compared = f"{_number(past['at_least'])} of {_number(past['past'])} past rows had at least this S{_tail(past)}"
    return _line(
        f"S = {_number(merged['sum'])} nats; the row {began}\n{compared}\np-value {_number(merged['p_value'])}"
    )


def _tail(past: Plain) -> str:
    tail = past["tail"]
    if not tail:
        return ""
    return (
        f"; beyond the highest percent: {_number(tail['above'])} are above {_number(tail['start'])}, falling by e "
        f"every {_number(tail['scale'])}"
    )


def _finding(told: Plain) -> Iterator[RenderableType]:
    found = told["finding"]
    yield _line(
        f"{_number(told['merged']['p_value'])} \u00d7 {_number(found['rows_per_day'])} rows a day = "
        f"{_number(found['per_day'])} a day; a finding up to {_number(found['most_per_day'])}, a hop of a chain up to "
        f"{_number(found['hops_per_day'])}"
    )
    if found["first_act"]:
        most = found["at_most"]
        capped = "" if most is None else f": counts as at most {_number(most)} a day"
        yield _line(f"the first act of its kind on a controller by this host is an alert whatever else{capped}")
    if found["chain"] is not None:
        yield from _chain(found["chain"])
    budget = found["budget"]
    asked = budget["alerts_per_day"] * budget["correction"]
    least = f"; few rows, so 1 in {1 / P_CUT:.0f} of them" if budget["threshold"] < asked else ""
    yield _line(
        f"{_number(found['expected'])} a day, where the threshold stood at {_number(budget['threshold'])} "
        f"({_number(budget['alerts_per_day'])} alerts a day \u00d7 {_number(budget['correction'])}{least}); "
        f"{_number(budget['left'])} alerts of the budget were left"
    )


def _chain(chain: Plain) -> Iterator[RenderableType]:
    table = _table("Time (UTC)", "Path", "r, a day", "ln(L/r)", "Pause", "ln(W/pause)", "a W")
    for link in chain["links"]:
        pause = link["pause_minutes"]
        table.add_row(
            Text(stamp(link["ts"])),
            _path(link),
            Text(_number(link["per_day"])),
            Text(_number(link["nats"])),
            Text("—" if pause is None else f"{_number(pause)} min"),
            Text(_number(link["gap_nats"])),
            Text(_number(link["arrivals"])),
        )
    yield table
    if chain["forgotten"]:
        yield _note(f"and {chain['forgotten']} hops before, which are no longer kept: the first line has their sum")
    young = f", \u00d7 {_number(chain['young'])} for a young history" if chain.get("young", 1.0) > 1.0 else ""
    yield _line(
        f"S = {_number(chain['evidence'])}; E = {_number(chain['findings_per_day'])} \u00d7 Π a W \u00d7 "
        f"P(Erlang({2 * chain['length'] - 1}) ≥ S) = {_number(chain['by_chance'])} chains a day by chance{young}"
    )


def _severity(explained: Plain) -> Iterator[RenderableType]:
    for told in explained["findings"][:1]:
        parts = told["severity"]
        yield _line(
            f"{_number(parts['strange'])} for the p-value, {_number(parts['consequence'])} for what it does, "
            f"{_number(parts['importance'])} for its hosts: {parts['severity']}"
        )
    worst = [told["severity"]["severity"] for told in explained["findings"]]
    if len(worst) > 1:
        yield _line(f"the worst of its findings counts: {', '.join(dict.fromkeys(worst))}")
    if explained["repeats_severity"]:
        yield _line(f"a repeat within the day raised it to {explained['repeats_severity']}")
    if explained["alert"]["incident_id"]:
        yield _line(f"one level more as a part of incident {explained['alert']['incident_id']}")


def _findings(findings: list[Plain]) -> Table:
    table = _table("Time (UTC)", "What", "S", "p", "Models")
    for told in findings:
        what = " ".join(word for word in (told["service"], told["operation"]) if word)
        said = sorted(told["merged"]["opinions"], key=lambda one: -one["nats"])
        table.add_row(
            Text(stamp(told["ts"])),
            Text(visible(what)),
            Text(_number(told["merged"]["sum"])),
            Text(_number(told["p_value"])),
            Text(", ".join(f"{one['model']} {_number(one['nats'])}" for one in said if one["nats"] > 0), style="dim"),
        )
    return table


def _path(hop: Plain) -> Text:
    return Text(visible(_ARROW.join((hop["src"], hop["dst"]))))


def _number(value: float) -> str:
    return f"{value:.3g}" if 0 < abs(value) < 1e-3 else amount(value)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_header=any(names))
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _head(name: str, title: str) -> Text:
    return Text.assemble((f"{name}\n", "bold"), visible(title))


def _section(title: str) -> Text:
    return Text(f"\n{title}", style="bold")


def _line(text: str) -> Text:
    return Text("\n".join(visible(line) for line in text.split("\n")))


def _note(text: str) -> Text:
    return Text(text, style="dim")

"""What an alert says would have made it none does: the input is changed so, and the alert is gone."""

import numpy as np
import pytest

from detector.config import Settings
from detector.engine import Engine
from detector.rows import Rows
from tests.score.frames import MONDAY, PLANT, controller, desk, row, server, station, units
from tests.score.reference import HOUR_US

DAYS = 10
LAST = (DAYS - 1) * 24.0  # hours; the last day is judged, those before it teach


def ordinary_life():
    """Desks that use servers under their own accounts, stations that read controllers every hour."""
    draw, rows = np.random.default_rng(1), []
    for day in range(DAYS):
        for n in range(40):
            for k in range(3):
                at, target = 24 * day + 8 + 3 * k + draw.random() / 2, server((3 * n + k) % 6)
                rows.append(row(at, desk(n), target, ("smb", "https", "rdp")[k]))
                rows.append(row(at, desk(n), target, "ntlm", operation="logon", user=f"u{n}"))
        for n, hour in ((n, hour) for n in range(3) for hour in range(24)):
            at = 24 * day + hour + draw.random() / 4
            rows.append(row(at, station(n), controller(n), "modbus"))
            rows.append(row(at, station(n), controller(n), "modbus", operation="READ_HOLDING_REGISTERS"))
    return rows


def alerts(extra):
    """Of ordinary life and more."""
    rows = sorted([*ordinary_life(), *extra], key=lambda one: (one["ts"], one["orig_h"], one["resp_h"]))
    rows = [one | {"teach": one["ts"] < MONDAY + LAST * HOUR_US} for one in rows]
    engine = Engine(Settings(alerts_per_day=25), PLANT)
    engine.judge.judge(engine.scorer.score(Rows.of(units(rows))))
    return engine.judge.final_alerts()


ACT = (desk(0), server(5), "dce_rpc"), {"operation": "svcctl::CreateServiceW"}
CROSSING = (desk(3), controller(1), "modbus"), {}
ACCOUNT = (desk(3), server(3), "ntlm"), {"operation": "logon", "user": "u20"}
HABIT = "{0} to {1} were a habit of most hours"


@pytest.mark.parametrize(
    ("what", "condition"),
    [(ACT, HABIT), (CROSSING, HABIT), (ACCOUNT, "this account were used from {0} on {1} in most hours")],
    ids=["act", "crossing", "account"],
)
def test_what_had_to_be_otherwise_is_enough(what, condition):
    (src, dst, service), more = what
    once = [row(LAST + 10, src, dst, service, **more)]
    often = [row(hour + 0.1, src, dst, service, **more) for hour in range(24, int(LAST) + 10)]
    [found] = [one for one in alerts(once) if (one.src, one.dst) == (src, dst)]
    assert condition.format(src, dst) in found.counterfactual
    assert found.counterfactual in found.summary
    assert not [one for one in alerts([*often, *once]) if (one.src, one.dst) == (src, dst)]

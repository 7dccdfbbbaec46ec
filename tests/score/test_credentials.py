"""Whose account: a stolen one is strange on an old path, an administrator's hardly anywhere."""

import numpy as np
import pytest

from detector.score.credentials import Credentials
from tests.score.frames import STRATA, Trained, desk, enriched, row, same_state, scored, server

DESKS, SERVERS, DAYS = 20, 4, 10
ADMIN, NEW_SERVER = DESKS + 1, SERVERS + 1


def model():
    return Credentials(STRATA, 1_000_000, 30.0)


def log_on(hour, host, target, user, **more):
    return row(hour, desk(host), server(target), "ntlm", operation="ok", user=user, **more)


def office():
    """Ten working days: each desk has one person and its machine account, on the servers of its own; one
    administrator is on all of them, and everybody's desk is at the file server."""
    rows = []
    for day in range(DAYS):
        for hour in range(8, 17):
            for host in range(DESKS):
                at = 24 * day + hour + host / 100
                rows.append(log_on(at, host, 0, f"user{host}"))
                rows.append(log_on(at, host, 1 + host % (SERVERS - 1), f"user{host}"))
                rows.append(log_on(at, host, 0, f"DESK{host}$"))
            rows += [log_on(24 * day + hour + 0.5, ADMIN, target, "admin") for target in range(SERVERS)]
    return sorted(rows, key=lambda one: one["obs_ts"])


@pytest.fixture(scope="module")
def trained():
    return Trained(model, office())


NOW = 24 * DAYS + 9.7
OWN = log_on(NOW, 3, 0, "user3")
OWN_MACHINE = log_on(NOW, 3, 0, "DESK3$")
OWN_ELSEWHERE = log_on(NOW, 3, 2, "user3")
ADMIN_NEW = log_on(NOW, ADMIN, NEW_SERVER, "admin")
ADMIN_THERE = log_on(NOW, 3, 0, "admin")  # the administrator's account used from a desk
COLLEAGUE = log_on(NOW, 3, 0, "user4")
BUSY = 24 * (DAYS - 1) + 16.6  # half an hour after the desk's machine account was seen
OTHER_MACHINE = log_on(BUSY, 3, 0, "DESK4$")
NOBODY = log_on(NOW, 3, 0, "backdoor")


def test_a_second_account_on_a_one_account_host_is_the_strangest(trained):
    mild = [trained.says(one)["credentials"] for one in (OWN, OWN_MACHINE, OWN_ELSEWHERE, ADMIN_NEW)]
    stolen = [trained.says(one)["credentials"] for one in (ADMIN_THERE, COLLEAGUE, OTHER_MACHINE)]
    assert min(stolen) > max(mild) + np.log(2) * 10, "ten bits lie between"


def test_an_administrators_account_on_a_new_server_is_mild(trained):
    """The account is what that host always uses, and the server never saw anybody."""
    assert trained.says(ADMIN_NEW)["credentials"] < trained.says(ADMIN_THERE)["credentials"] / 2
    assert trained.says(ADMIN_NEW)["p_credentials"] > 10 * trained.says(ADMIN_THERE)["p_credentials"]


def test_an_account_that_nobody_knows_is_strange_on_a_host_of_one_person(trained):
    """But less than one known from elsewhere: scores are relative to how often an account is seen at all."""
    assert trained.says(OWN)["credentials"] + np.log(10) < trained.says(NOBODY)["credentials"]
    assert trained.says(NOBODY)["credentials"] < trained.says(COLLEAGUE)["credentials"]


def test_a_machine_account_is_one_of_its_own_hosts_habits(trained):
    """Two accounts on one host, person and machine, make neither strange; another machine's is."""
    own, other = trained.says(OWN_MACHINE), trained.says(OTHER_MACHINE)
    assert own["p_credentials"] > 0.05
    assert other["p_credentials"] < own["p_credentials"] / 20
    assert other["credentials"] > own["credentials"] + np.log(10)
    assert own["edge_users"] == pytest.approx(2.0, rel=0.3)


def test_a_desk_with_another_lease_takes_its_habits_along():
    """Its machine account logs on from the new address, which was silent for an hour; then the person is at home."""
    rows = office()
    moved = [log_on(NOW, 4, 0, "DESK3$"), log_on(NOW + 0.1, 4, 0, "user3")]
    without = [moved[1]]
    at_home, elsewhere = (scored(model(), [*rows, *more])["credentials"][-1] for more in (moved, without))
    assert elsewhere > at_home + np.log(100)


def test_case_means_nothing(trained):
    for spelt in ("USER3", "User3", "user3"):
        said = trained.says(log_on(NOW, 3, 0, spelt))
        assert said == trained.says(OWN)
        assert said["user_seen"] > 50


def test_numbers_that_explain_it(trained):
    assert trained.says(COLLEAGUE)["user_seen"] == 0.0
    assert trained.says(ADMIN_NEW)["user_seen"] == trained.says(ADMIN_NEW)["edge_users"] == 0.0
    # Nine hours on each of ten days, half of which fade in a month.
    assert trained.says(OWN)["user_seen"] == pytest.approx(90, rel=0.2)


def test_the_wider_the_level_that_knows_the_account_the_stranger(trained):
    """Each level tells: this edge, this host, hosts of this role."""
    first_there = log_on(NOW, 3, NEW_SERVER, "user3")
    moved = log_on(NOW, DESKS + 5, NEW_SERVER, "user3")  # a new desk, the same person
    spent = [trained.says(one)["credentials"] for one in (OWN, first_there, moved)]
    assert spent == sorted(spent)
    assert spent[-1] > spent[0]


def test_without_an_account_there_is_nothing_to_say():
    """Exactly 1, and nothing is learned: not even that there was none."""
    rows = office()[:400]
    bare = [row(one_hour, desk(1), server(1), "ntlm", operation="ok") for one_hour in np.linspace(8.001, 9, 50)]
    mixed = sorted([*rows, *bare], key=lambda one: one["obs_ts"])
    quiet, loud = model(), model()
    plain, result = scored(quiet, rows), scored(loud, mixed)
    without = enriched(mixed)["user"].is_null()
    assert set(result["p_credentials"].filter(without)) == {1.0}
    assert set(result["credentials"].filter(without)) == {0.0}
    assert result.filter(~without).equals(plain)
    assert same_state(quiet, loud)


def test_a_strange_log_on_is_spent_on_what_its_host_does_next():
    """p, then p k (k + 1) for the k-th target of the next ten minutes; nothing after them, and nothing for chatter."""
    follow = Trained(model, office())
    tried = follow.make()
    tried.load(follow.learned)
    targets = (0, 1, 1, 2)
    moves = [row(NOW + 0.01 * place, desk(3), server(number), "smb") for place, number in enumerate(targets, 1)]
    rows = [ADMIN_THERE, *moves, row(NOW + 0.3, desk(3), server(3), "smb")]
    p = scored(tried, rows)["p_credentials"].to_list()
    stolen = follow.says(ADMIN_THERE)["p_credentials"]
    assert p == pytest.approx([stolen, 2 * stolen, 6 * stolen, 6 * stolen, 12 * stolen, 1.0])

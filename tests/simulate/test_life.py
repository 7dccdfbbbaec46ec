"""Three weeks in which nobody attacks: what happens in them that an intruder's acts must not stand out from by kind."""

from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from statistics import median

import yaml

from detector.simulate.drift import first_days, migration
from detector.simulate.plant import Role, build_plant
from detector.simulate.rhythm import day_of
from tests.simulate.conftest import seconds

DAY = 86_400
PLANT = build_plant(300, 1)
DAYS = [day_of(datetime(2026, 3, 2, tzinfo=UTC), number) for number in range(21)]
MOVED, SERVER = migration(PLANT, DAYS, 1)


START = seconds("2026-03-02T00:00:00.000000Z")


def day(conn):
    return int((conn["ts"] - START) // DAY)


def inside(host):
    return host.startswith("10.")


def address(host):
    return PLANT.hosts[host].address


def addresses(*roles):
    return {address(host) for host in PLANT.of(*roles).tolist()}


def pairs_by_day(week):
    pairs = defaultdict(set)
    for conn in week.logs["conn"]:
        if inside(conn["id.orig_h"]) and inside(conn["id.resp_h"]):
            pairs[day(conn)].add((conn["id.orig_h"], conn["id.resp_h"]))
    return pairs


def test_one_pair_in_fifteen_is_new_on_a_working_day_of_the_third_week(weeks):
    pairs = pairs_by_day(weeks)
    share, known = {}, set()
    for number in range(19):
        if number >= 14:
            share[number] = len(pairs[number] - known) / len(pairs[number])
        known |= pairs[number]
    assert 0.05 <= median(share.values()) <= 0.08, share
    assert share[MOVED] == max(share.values()), "a migration is the exception"


def test_what_is_switched_on_has_been_seen_by_the_third_week(weeks):
    """Old hosts are old: whoever may attack has spoken in the first week."""
    spoke = {conn["id.orig_h"] for conn in weeks.logs["conn"] if day(conn) < 7}
    hired = first_days(PLANT, 21, 1)
    passive = {Role.PRINTER, Role.RETIRED, Role.PLC, Role.SITE}
    for host, known in enumerate(PLANT.hosts):
        if known.role not in passive and hired[host] == 0:
            assert known.address in spoke, known


def test_a_server_moves_and_its_clients_follow(weeks):
    old, new = PLANT.hosts[SERVER].address, "10.20.4.12"
    clients = defaultdict(set)
    for conn in weeks.logs["conn"]:
        if conn["id.resp_h"] in (old, new):
            clients[conn["id.resp_h"], day(conn) >= MOVED].add(conn["id.orig_h"])
    assert set(clients) == {(old, False), (new, True)}
    assert len(clients[new, True] & clients[old, False]) > 50


def test_new_servers_are_set_up_and_taken_up(weeks):
    hired = first_days(PLANT, 21, 1)
    new = [host for host in PLANT.of(Role.APP).tolist() if hired[host]]
    assert new
    admins = addresses(Role.ADMIN)
    for server in new:
        theirs = [c for c in weeks.logs["conn"] if address(server) in (c["id.orig_h"], c["id.resp_h"])]
        assert min(day(c) for c in theirs) == hired[server]
        first = [c for c in theirs if day(c) == hired[server] and c["id.orig_h"] in admins]
        assert {445, 3389} <= {c["id.resp_p"] for c in first}


def test_administrators_work_at_night_now_and_then(weeks):
    admins = addresses(Role.ADMIN)
    nights = {
        day(conn)
        for conn in weeks.logs["conn"]
        if conn["id.orig_h"] in admins
        and conn["id.resp_p"] in (22, 445, 3389, 5985)
        and not 6 <= datetime.fromtimestamp(conn["ts"], UTC).hour < 22
    }
    assert 3 <= len(nights) <= 14


def test_orchestration_reaches_every_server_every_day(weeks):
    config = addresses(Role.CONFIG)
    reached = defaultdict(set)
    for conn in weeks.logs["conn"]:
        if conn["id.orig_h"] in config and conn["id.resp_p"] in (22, 5985):
            reached[conn["id.resp_h"]].add(day(conn))
    for server in addresses(Role.DC, Role.FILES, Role.MAIL, Role.JUMP, Role.PROXY):
        assert len(reached[server]) >= 20, server
    assert len(reached) > 150, "and the desks in turn"


def test_an_identity_server_reads_the_directory_on_schedule(weeks):
    sync = addresses(Role.SYNC)
    read = {
        day(record)
        for record in weeks.logs["dce_rpc"]
        if record["operation"] == "DRSGetNCChanges" and record["id.orig_h"] in sync
    }
    assert len(read) >= 10
    others = {r["id.orig_h"] for r in weeks.logs["dce_rpc"] if r["operation"] == "DRSGetNCChanges"}
    assert others == sync | addresses(Role.DC)


def test_programs_change_in_declared_windows_after_somebody_came_in(weeks):
    plant = yaml.safe_load(weeks.made.plant.read_text())
    maintenance = {(w["station"], w["day"]) for w in plant["maintenance_windows"]}
    visits = {w["day"] for v in plant["vendors"] for w in v["windows"]}
    sessions = [c for c in weeks.logs["conn"] if c["id.resp_p"] == 3389]
    loads = {r["uid"]: r for r in weeks.logs["s7comm"] if r["function_name"] == "Request Download"}
    assert len(loads) >= 8
    for load in loads.values():
        moment = datetime.fromtimestamp(load["ts"], UTC)
        evening = moment - timedelta(hours=4)  # the window ends at one o'clock
        maintained = (load["id.orig_h"], evening.strftime("%a").lower()) in maintenance and evening.hour >= 17
        visited = moment.strftime("%a").lower() in visits and 11 <= moment.hour < 14
        assert maintained or visited, load
        assert any(
            c["id.resp_h"] == load["id.orig_h"] and c["ts"] < load["ts"] < c["ts"] + c.get("duration", 0)
            for c in sessions
        ), load


def test_people_log_on_at_desks_that_are_not_theirs(weeks):
    """New pairs of account and host are no alert: `NTLM` and `Kerberos` name several people on some desks."""
    desks = addresses(Role.WORKSTATION)
    people = defaultdict(set)
    for record in weeks.logs["kerberos"]:
        account = record["client"].split("/")[0]
        if record["id.orig_h"] in desks and not account.endswith("$"):
            people[record["id.orig_h"]].add(account)
    several = sum(len(accounts) > 1 for accounts in people.values())
    assert 0.1 < several / len(people) < 0.6


def test_passwords_are_mistyped_sometimes_in_a_row(weeks):
    wrong = Counter(
        (r["client"], day(r)) for r in weeks.logs["kerberos"] if r.get("error_msg") == "KDC_ERR_PREAUTH_FAILED"
    )
    assert len(wrong) > 40
    assert max(wrong.values()) >= 3


def test_whole_folders_are_copied_by_people(weeks):
    desks = addresses(Role.WORKSTATION)
    large = [c for c in weeks.logs["conn"] if c["id.orig_h"] in desks and c.get("resp_bytes", 0) > 400_000_000]
    assert len(large) > 20
    assert 445 in {c["id.resp_p"] for c in large}


def test_routine_comes_in_bursts_too(weeks):
    """Thinning leaves most pairs a connection a day; bursts keep many within an hour from being a sign by itself."""
    desks = addresses(Role.WORKSTATION)
    hours = Counter(
        (c["id.orig_h"], c["id.resp_h"], c["id.resp_p"], int(c["ts"] // 3600))
        for c in weeks.logs["conn"]
        if c["id.orig_h"] in desks
    )
    bursts = [key for key, count in hours.items() if count >= 12]
    assert len(bursts) > 3 * 15
    assert {445, 443, 80} <= {port for _, _, port, _ in bursts}

"""Roles against the truth of a simulated plant, from logs alone: no plant file, and names left out."""

from detector.assets.hosts import Hosts
from detector.assets.plant import Plant
from detector.assets.roles import weigh
from detector.config import Settings
from detector.profiles.collect import collect
from detector.profiles.facts import facts, profiles
from detector.simulate import simulate
from detector.simulate.plant import Role, build_plant

TRUTH = {
    Role.WORKSTATION: {"workstation"},
    Role.ADMIN: {"workstation"},
    Role.PRINTER: {"printer"},
    Role.DC: {"domain_controller"},
    Role.FILES: {"file_server"},
    Role.MAIL: {"mail_server"},
    Role.PROXY: {"proxy"},
    Role.ERP: {"web_server", "database"},  # it serves both, and so do the next two
    Role.MES_FRONT: {"web_server", "database"},
    Role.MIRROR: {"historian", "database"},
    Role.INTRANET: {"web_server"},
    Role.RELAY: {"web_server"},
    Role.APP: {"web_server"},
    Role.DEPLOY: {"management_server"},
    Role.MONITOR: {"management_server"},
    Role.CONFIG: {"management_server"},
    Role.SYNC: {"management_server"},
    Role.BACKUP: {"backup_server"},
    Role.SCANNER: {"scanner"},
    Role.JUMP: {"jump_host"},
    Role.HISTORIAN: {"historian"},
    Role.MES: {"scada_server"},
    Role.EWS: {"engineering_workstation"},
    Role.HMI: {"hmi"},
    Role.PLC: {"plc"},
    Role.SUPPLIER: {"vendor_gateway"},
    Role.RETIRED: {"unknown"},
}


def test_nineteen_of_twenty_roles_are_right(tmp_path):
    made = simulate(tmp_path / "plant", days=2, hosts=80, seed=21, netflow=False, campaigns=False)
    truth = {host.address: TRUTH[host.role] for host in build_plant(80, 21).hosts if host.role is not Role.SITE}
    with (tmp_path / "rejected").open("wb") as rejected:
        seen = collect([made.zeek_dir], Settings(), Hosts(Plant()), "auto", rejected, lambda *_: None)
    everybody = profiles(seen)
    named = {address: facts(profile, everybody) for address, profile in everybody.items()}
    shares = {
        address: weigh([fact for fact in found if not fact.startswith("named_")]) for address, found in named.items()
    }
    roles = {
        address: max(sorted(share), key=share.__getitem__) for address, share in shares.items() if address in truth
    }
    right = [address for address, role in roles.items() if role in truth[address]]
    assert len(roles) >= 75
    assert len(right) >= 0.95 * len(roles), {a: (r, truth[a]) for a, r in roles.items() if r not in truth[a]}

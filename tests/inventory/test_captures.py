"""Recorded plants: what the inventory says of them is what their authors say."""

from detector.config import Settings
from detector.inventory.run import inventory


def test_a_scada_sandbox(shared_data, tmp_path):
    folder = shared_data / "zeek-from-pcap" / "lemay-modbus" / "send_a_fake_command_modbus_6RTU_with_operate"
    by = {asset.address: asset for asset in inventory([folder], tmp_path / "out", Settings()).assets}
    units = [f"192.168.1.{n}" for n in range(101, 107)]
    assert {by[unit].role for unit in units} == {"plc"}
    assert by["192.168.1.100"].role == "hmi"
    assert by["192.168.1.100"].ot_roles == ("modbus client",)
    # The attacker works from a unit: it asks others, as no other unit does.
    assert [unit for unit in units if "modbus client" in by[unit].ot_roles] == ["192.168.1.101"]


def test_a_test_bed_of_dnp3(shared_data, tmp_path):
    folder = shared_data / "zeek-from-pcap" / "qut-dnp3" / "attacks_training_frequent"
    by = {asset.address: asset for asset in inventory([folder], tmp_path / "out", Settings()).assets}
    assert (by["192.168.10.222"].role, by["192.168.10.222"].ot_roles) == ("plc", ("dnp3 server",))
    assert "dnp3 client" in by["192.168.10.221"].ot_roles

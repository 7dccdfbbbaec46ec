"""Recorded plants: who works from a supplier's host on what it may not is found in real records."""

from io import BytesIO

from detector.assets.plant import Plant
from detector.config import Settings
from detector.vendors.run import Asked, look


def found(folder, **fields):
    plant = Plant.model_validate({"vendors": [{"name": "maker", **fields}]})
    told, _, _ = look([folder], Settings(), plant, BytesIO(), asked=Asked())
    return told


def test_a_scada_sandbox_whose_unit_asks_as_a_master(shared_data):
    folder = shared_data / "zeek-from-pcap" / "lemay-modbus" / "send_a_fake_command_modbus_6RTU_with_operate"
    told = found(folder, hosts=["192.168.1.101"], operations=["read"], assets=["192.168.1.101"])
    assert {visit.entry.orig for visit in told.visits} == {"192.168.1.101"}
    wrong = {(each.kind, each.what) for each in told.violations}
    assert {kind for kind, _ in wrong} == {"asset", "operation"}
    assert all(what.startswith("WRITE") for kind, what in wrong if kind == "operation")


def test_a_test_bed_of_dnp3(shared_data):
    folder = shared_data / "zeek-from-pcap" / "qut-dnp3" / "attacks_training_frequent"
    told = found(folder, hosts=["192.168.10.221"], operations=["read"])
    assert {each.kind for each in told.violations} == {"operation"}
    assert {each.dst for each in told.violations} == {"192.168.10.222"}
    assert "WRITE" in {each.what for each in told.violations}
    assert "READ" not in {each.what for each in told.violations}
    assert found(folder, hosts=["192.168.10.221"]).violations == []

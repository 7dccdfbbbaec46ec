"""Zeek logs that are known and carry nothing a model reads: their rows are counted, not scored."""

from collections import Counter
from typing import Final

from detector.formats.batch import Batch, Context, LogType
from detector.records import Decoded

_NAMES: Final = """
analyzer analyzer_debug bacnet_ack barnyard2 broker capture_loss cip_identity cip_io cluster communication config
cotp dhcp dnp3_objects dpd ecat_aoe_info ecat_arp_info ecat_coe_info ecat_dev_info ecat_foe_info ecat_log_address
ecat_registers ecat_soe_info files intel ipsec irc ja4ssh kerberos_tickets known_certs known_devices known_domains
known_hosts known_modbus known_routers known_services known_users ldap_stats loaded_scripts logger modbus_detailed_data
modbus_register_change mqtt_stats netcontrol netcontrol_catch_release netcontrol_drop netcontrol_shunt notice
notice_alarm ntp ntp_control ntp_private ocsp open_dns open_http open_ssl openflow packet_filter pe postgresql print
print_statements prof quic redis reporter s7comm_known_devices signatures sip smb_cmd smtp smtp_entities snmp_traps
software ssl stats stderr stdout stun stun_nat syslog telemetry telemetry_histogram traceroute tunnel
unknown_protocols websocket weird weird_stats wireguard x509
""".split()

OTHER: Final = "zeek.other"
"""The log of rows that are recognisably Zeek's but of a stream we have no name for."""


def _discard(batch: Batch, context: Context) -> Decoded:
    name = "this log" if batch.log == OTHER else batch.log.removeprefix("zeek.")
    return Decoded(filtered=Counter({(batch.log, f"no model reads {name}"): len(batch.rows)}))


LOG_TYPES: Final = tuple(LogType(name, _discard) for name in (*(f"zeek.{name}" for name in _NAMES), OTHER))

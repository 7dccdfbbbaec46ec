"""Zeek logs that are known and carry nothing a model reads: their rows are counted, not scored."""

from collections import Counter
from typing import Final

from detector.formats.batch import Batch, Context, LogType
from detector.formats.zeek_acts import words
from detector.records import Decoded

_NAMES: Final = words(
    """
analyzer analyzer_debug bacnet_ack barnyard2 broker c1222 capture_loss cip_identity cip_io cluster
communication config cotp dhcp dnp3_objects dpd ecat_aoe_info ecat_arp_info ecat_coe_info ecat_dev_info
ecat_foe_info ecat_log_address ecat_registers ecat_soe_info files ge_srtp hart_ip iec104 intel ipsec irc
ja4ssh kerberos_tickets known_certs known_devices known_domains known_hosts known_modbus known_routers
known_services known_users ldap_stats loaded_scripts logger modbus_register_change mqtt_stats netcontrol
netcontrol_catch_release netcontrol_drop netcontrol_shunt notice notice_alarm ntp ntp_control ntp_private
ocsp omron_fins opcua_binary_activate_session_client_software_cert opcua_binary_activate_session_locale_id
opcua_binary_aggregate_filter opcua_binary_browse opcua_binary_browse_description
opcua_binary_browse_request_continuation_point opcua_binary_browse_response_references
opcua_binary_browse_result opcua_binary_close_session opcua_binary_create_monitored_items
opcua_binary_create_monitored_items_create_item opcua_binary_create_session
opcua_binary_create_session_discovery opcua_binary_create_session_endpoints
opcua_binary_create_session_user_token opcua_binary_create_subscription opcua_binary_data_change_filter
opcua_binary_diag_info_detail opcua_binary_event_filter opcua_binary_event_filter_attribute_operand
opcua_binary_event_filter_attribute_operand_browse_paths opcua_binary_event_filter_element_operand
opcua_binary_event_filter_literal_operand opcua_binary_event_filter_select_clause
opcua_binary_event_filter_simple_attribute_operand
opcua_binary_event_filter_simple_attribute_operand_browse_paths opcua_binary_event_filter_where_clause
opcua_binary_event_filter_where_clause_elements opcua_binary_get_endpoints
opcua_binary_get_endpoints_description opcua_binary_get_endpoints_discovery
opcua_binary_get_endpoints_locale_id opcua_binary_get_endpoints_profile_uri
opcua_binary_get_endpoints_user_token opcua_binary_opensecure_channel opcua_binary_read
opcua_binary_read_nodes_to_read opcua_binary_read_results opcua_binary_read_results_link
opcua_binary_status_code_detail opcua_binary_variant_array_dims opcua_binary_variant_data
opcua_binary_variant_data_value opcua_binary_variant_extension_object opcua_binary_variant_metadata
opcua_binary_write_results open_dns open_http open_ssl openflow packet_filter pe postgresql print
print_statements prof profinet_dce_rpc quic redis reporter roc_plus s7comm_known_devices signatures sip
smb_cmd smtp smtp_entities snmp_traps software ssl stats stderr stdout stun stun_nat synchrophasor syslog
telemetry telemetry_histogram traceroute tunnel unknown_protocols websocket weird weird_stats wireguard x509
"""
)

OTHER: Final = "zeek.other"
"""The log of rows that are recognisably Zeek's but of a stream we have no name for."""


def _discard(batch: Batch, context: Context) -> Decoded:
    name = "this log" if batch.log == OTHER else batch.log.removeprefix("zeek.")
    return Decoded(filtered=Counter({(batch.log, f"no model reads {name}"): len(batch.rows)}))


LOG_TYPES: Final = tuple(LogType(name, _discard) for name in (*(f"zeek.{name}" for name in sorted(_NAMES)), OTHER))

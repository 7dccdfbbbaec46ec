"""What is known of hosts, services and operations without reading more logs."""

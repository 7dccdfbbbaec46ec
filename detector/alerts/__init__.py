"""What leaves: alerts, incidents, their ATT&CK techniques and their reasons."""

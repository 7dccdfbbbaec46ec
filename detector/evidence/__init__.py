"""What a result knows of an incident, prefilled for those who have to report it."""

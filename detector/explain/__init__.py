"""`eastwest explain`: every number that led to an alert or an incident, and how they combine to its score."""

"""Files in, alerts, incidents and a report out: the engine over history."""

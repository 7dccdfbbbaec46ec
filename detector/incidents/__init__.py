"""The life of incidents: opened, acknowledged, contained, recovered, closed; when, and by whom.

What the engine tells does not depend on it.
"""

"""eastwest's own JSON: every field there is."""

from detector.alerts.model import Told, told_json


def render(told: Told) -> bytes:
    """One JSON object without a line feed; see `alerts.model.Alert` and `Incident` for the fields."""
    return told_json(told)

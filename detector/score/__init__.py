"""One file per model, then calibration and the alert budget."""

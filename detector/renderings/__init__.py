"""What is told, as other systems read it: pure functions from `alerts.model.Told` to text. No I/O."""

"""The streaming service: its settings, what it shows of itself, and what people ask of it."""

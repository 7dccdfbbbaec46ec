"""What analysts say back: decisions and verdicts, written to files and kept in a log."""

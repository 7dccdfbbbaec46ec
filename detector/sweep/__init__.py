"""`eastwest sweep`: many settings over the same logs, what each finds, and which one to choose."""

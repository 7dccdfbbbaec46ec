"""`eastwest compare`: two results side by side, what came, went and moved, and how sure the difference is."""

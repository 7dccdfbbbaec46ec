"""Who came from outside, what was done, and whether it was agreed: evidence about suppliers."""

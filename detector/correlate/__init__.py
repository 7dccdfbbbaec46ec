"""Findings to chains, chains to incidents."""

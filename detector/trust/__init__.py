"""Zero trust, looked at from the logs: was each connection one that can be verified? `eastwest trust`."""

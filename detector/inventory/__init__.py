"""Which hosts there are, what they are, and what makes one think so: `eastwest inventory`, out of logs alone."""

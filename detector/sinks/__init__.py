"""Where results go: first to a durable, numbered outbox, from there to whoever wants them."""

"""What each host of a network does, summed up out of its logs: what inventory and zones conclude from."""

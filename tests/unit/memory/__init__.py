"""What is known to be queued."""

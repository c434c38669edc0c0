"""What messages are, and which make which redundant."""

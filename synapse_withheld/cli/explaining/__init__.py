"""Read recorded messages, and play them through the rules."""

"""Where a homeserver listens, how it is asked, and what it answers."""

"""Every SQL statement, and the one way to run them. It imports `rules`."""

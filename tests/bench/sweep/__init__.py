"""The sweep of a database that is full."""

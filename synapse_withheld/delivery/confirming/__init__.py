"""Believed duplicates wait here for the database to confirm them, a second at most."""
